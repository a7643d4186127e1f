"""Reads the corpus: recorded episodes, each with the label of its planted fault.

``episodes/public.jsonl.xz`` is for developing coaches, ``episodes/heldout.jsonl.xz`` for reporting
results; no task is in both. Lines have the format of ``coaches.episodes`` and these additional keys: ``env``,
``seed``, ``split``, ``style``, ``edition`` (of the corpus in which the kind of fault, or of a sound episode
the way of working, came first), ``fault`` (``{"kind", "agent", "turn"}``, null in a sound episode), ``twin``
(the id of the sound episode that a faulty one departs from in that turn) and ``answer`` (the task's, if it is
a text).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from coaches import episodes
from coaches.episodes import RecordedEpisode
from conf import ConfigError

FOLDER = Path(__file__).with_name("episodes")
SPLITS = ("public", "heldout")


@dataclass(frozen=True)
class Label:
    """The planted fault: ``Label("never_saved", "modeler", 3)``."""

    kind: str
    agent: str
    turn: int
    """0-based position in the episode of the one action that is not the team's own."""


@dataclass(frozen=True)
class Case:
    """One recorded episode and its label."""

    episode: RecordedEpisode
    env: str
    seed: int
    """Seed of the environment's reset and of the team."""
    split: str
    style: str
    label: Label | None
    """None: a sound episode."""
    twin: str | None
    """Id of the sound episode of the same task, style and seed; None for a sound one."""
    answer: str | None
    edition: int = 1
    """The edition of the corpus in which the kind of fault, or of a sound episode the way of working, came
    first: coaches may have been developed on kinds of the first, of which alone the public part is made."""


@cache
def read(split: str) -> tuple[Case, ...]:
    """Returns the bundled cases of a split, read once. Raises ``ConfigError`` for an unknown split."""
    if split not in SPLITS:
        raise ConfigError(f"the corpus has {' and '.join(SPLITS)}, not {split!r}")
    return read_file(path_of(split))


def path_of(split: str, folder: Path = FOLDER) -> Path:
    """Returns the file of a split."""
    return folder / f"{split}.jsonl.xz"


def read_file(path: Path) -> tuple[Case, ...]:
    """Returns the cases of a file, in its order.

    Raises:
        ConfigError: the file cannot be read, or a line is not a case.
    """
    return tuple(_case(path, row, episode) for row, episode in episodes.read(path))


def _case(path: Path, row: dict[str, Any], episode: RecordedEpisode) -> Case:
    try:
        fault = row["fault"]
        label = None if fault is None else Label(str(fault["kind"]), str(fault["agent"]), int(fault["turn"]))
        about = {key: row[key] for key in ("env", "seed", "split", "style", "twin", "answer")}
        case = Case(episode, label=label, edition=int(row.get("edition", 1)), **about)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: episode {episode.id} is not a case: {error!r}") from None
    if episode.outcome is None:
        raise ConfigError(f"{path}: episode {episode.id} has no outcome")
    if label is not None and not (
        label.turn in range(len(episode.turns)) and episode.turns[label.turn].agent == label.agent
    ):
        raise ConfigError(f"{path}: episode {episode.id}: turn {label.turn} is not a turn of {label.agent}")
    return case

"""The corpus as coaches are held against it: recorded episodes, and where in them the planted fault stands.

``episodes/public.jsonl`` is for developing a coach, ``episodes/heldout.jsonl`` for reporting on it; no task
is in both. Lines are as ``coaches.episodes`` has them, with these keys more: ``env``, ``seed``, ``split``,
``style``, ``fault`` (``{"kind", "agent", "turn"}``, null in a sound episode), ``twin`` (the id of the sound
episode that a faulty one departs from in that turn) and ``answer`` (the task's, where it is a text).
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """0-based position in the episode of the one action that is not what the team would have done."""


@dataclass(frozen=True)
class Case:
    """One recorded episode and the truth about it."""

    episode: RecordedEpisode
    env: str
    seed: int
    """Of the environment's reset, and of the team."""
    split: str
    style: str
    label: Label | None
    """None: a sound episode."""
    twin: str | None
    """Id of the sound episode of the same task, style and seed; None for a sound one."""
    answer: str | None


def read(split: str) -> tuple[Case, ...]:
    """The cases that ship with us. Raises ``ConfigError`` for a split that is not there."""
    if split not in SPLITS:
        raise ConfigError(f"the corpus has {' and '.join(SPLITS)}, not {split!r}")
    return read_file(FOLDER / f"{split}.jsonl")


def read_file(path: Path) -> tuple[Case, ...]:
    """The cases in a file, in its order.

    Raises:
        ConfigError: the file cannot be read, or a line is no case.
    """
    return tuple(_case(path, row, episode) for row, episode in episodes.read(path))


def _case(path: Path, row: dict[str, Any], episode: RecordedEpisode) -> Case:
    try:
        fault = row["fault"]
        label = None if fault is None else Label(str(fault["kind"]), str(fault["agent"]), int(fault["turn"]))
        case = Case(
            episode, row["env"], row["seed"], row["split"], row["style"], label, row["twin"], row["answer"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: episode {episode.id} is no case: {error!r}") from None
    if episode.outcome is None:
        raise ConfigError(f"{path}: episode {episode.id} has no outcome")
    if label is not None and not (
        label.turn in range(len(episode.turns)) and episode.turns[label.turn].agent == label.agent
    ):
        raise ConfigError(f"{path}: episode {episode.id}: turn {label.turn} is none of {label.agent}")
    return case

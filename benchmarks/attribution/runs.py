"""Reads the labelled runs, and what is guessed about one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coaches.episodes import RecordedEpisode
from coaches.traces import formats
from conf import ConfigError

FORMAT = "who_and_when"


@dataclass(frozen=True)
class Run:
    """One failed run with its label."""

    part: str
    """``algorithm-generated`` or ``hand-crafted``."""
    episode: RecordedEpisode
    messages: tuple[int, ...]
    """For each turn, the place of its message in the history; what is labelled is a message."""
    agent: str
    """The agent at fault."""
    message: int
    """The message at fault. It may be no turn: a few labels name a message of the terminal."""
    answer: str | None

    def speaker(self, message: int) -> str | None:
        """Returns whose turn a message is; None for one that is no turn."""
        spoken = zip(self.messages, self.episode.turns, strict=True)
        return next((turn.agent for place, turn in spoken if place == message), None)


@dataclass(frozen=True)
class Guess:
    """Who is at fault in a run, and where: ``Guess(("coder",), ((3,), (1, 5)))``."""

    agents: tuple[str, ...]
    """The suspects; where there are several, each is as likely, and more so if it is in here twice."""
    messages: tuple[tuple[int, ...], ...]
    """Messages, the most suspect first; those in one group are equally suspect."""


def read(path: Path, *, skip_bad: bool) -> tuple[list[Run], list[str], str]:
    """Returns the labelled runs, why others were left out, and a digest of what was read.

    Raises:
        ConfigError: the runs cannot be read, one is invalid and ``skip_bad`` is false, or none is labelled.
    """
    pairs, skipped = formats.read_all(path, FORMAT, roles=None, skip_bad=skip_bad)
    for row, _ in pairs:
        if row["label"] is None or row["outcome"] is None:
            skipped.append(f"{path}: run {row['id']} has no label or no outcome")
    if skipped and not skip_bad:
        raise ConfigError(f"{skipped[0]} (--skip-bad leaves out such runs: {len(skipped)})")
    runs = [_run(row, one) for row, one in pairs if row["label"] is not None and row["outcome"] is not None]
    if not runs:
        raise ConfigError(f"{path} has no labelled runs" + (f"; the first: {skipped[0]}" if skipped else ""))
    return runs, skipped, _digest(runs)


def parts(runs: Sequence[Run], limit: int | None) -> dict[str, list[Run]]:
    """Returns the runs of every part, of each at most ``limit``."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.part, []).append(run)
    return {part: found[part][:limit] for part in sorted(found)}


def _run(row: Mapping[str, Any], episode: RecordedEpisode) -> Run:
    places = tuple(turn["message"] for turn in row["turns"])
    label = row["label"]
    return Run(row["part"], episode, places, label["agent"], label["message"], row["answer"])


def _digest(runs: Sequence[Run]) -> str:
    """Tells copies of the data apart, by what they ask and how they are labelled."""
    lines = sorted(f"{run.episode.task_id} {run.agent} {run.message} {len(run.messages)}" for run in runs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

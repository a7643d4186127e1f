"""A table of some of a run's turns, for people who look at it elsewhere than in its report."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from envs.types import Turn

Cells = Iterable[Any]
COLUMNS = (
    *("phase", "step", "episode", "task", "kind", "turn", "agent", "read", "action"),
    *("status", "stdout", "stderr", "failed_checks", "score", "rationale", "blame", "success", "fair"),
)
"""``turn`` counts from 1, as in the report; ``read`` is what is new to the agent since its turn before."""


def sample(episodes: Iterable[RecordedEpisode], count: int, seed: int) -> list[Cells]:
    """Returns ``COLUMNS`` of at most ``count`` turns in the order of the episodes. Every turn is as likely
    as any other, and the same ``seed`` and episodes give the same ones (reservoir sampling)."""
    number, kept, rng = 0, dict[int, tuple[int, Cells]](), random.Random(seed)
    for episode in episodes:
        seen = dict[str, int]()
        for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
            place = number if number < count else rng.randrange(number + 1)
            if place < count:
                kept[place] = number, _cells(episode, turn, verdict, seen.get(turn.agent, 0))
            number, seen[turn.agent] = number + 1, len(turn.observation)
    return [cells for _, cells in sorted(kept.values(), key=lambda one: one[0])]


def _cells(episode: RecordedEpisode, turn: Turn, verdict: Verdict | None, seen: int) -> Cells:
    read = "\n\n".join(f"{message.role}: {message.content}" for message in turn.observation[seen:])
    failed = "; ".join(f"{one.name}: {one.code} {one.detail}" for one in turn.checks if one.code != "ok")
    result, outcome = turn.result, episode.outcome
    ran = [None] * 3 if result is None else [result.status, result.stdout, result.stderr]
    judged = [None] * 3 if verdict is None else [float(verdict.score), verdict.rationale, verdict.blame]
    graded = [None] * 2 if outcome is None else [outcome.success, outcome.metrics.get("fair")]
    played = [episode.phase, episode.step, episode.id, episode.task_id, episode.kind]
    return [*played, turn.index + 1, turn.agent, read, turn.action, *ran, failed, *judged, *graded]

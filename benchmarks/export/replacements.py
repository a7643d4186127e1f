"""Pairs of actions at the turn that explains a failure: the recorded one, and one that would have succeeded.

What would have happened is replayed, not guessed: the files before the turn are restored in a sandbox, an
action of the same agent from a successful episode of the same task takes the place of the recorded one, and
the rest of the episode is played as it was recorded (``coaches.replay.branches``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.export.provenance import Source, cut_off, template_arguments
from coaches.base import CoachError
from coaches.episodes import RecordedEpisode
from coaches.replay.stages import Stages
from envs.types import Turn
from learners.report.handoffs import diagnose
from learners.report.reading import Row, Run

Read = tuple[Run, Source, Row, RecordedEpisode]
"""An episode, where it comes from, and its line."""
TOLERANCE = 0.001
"""Largest difference between the recorded score of an outcome and that of its replay."""


@dataclass(frozen=True)
class Replacement:
    """An action whose replacement turns a failure into a success."""

    episode: Read
    place: int
    """Index of the turn that is replaced."""
    donor: Read
    donated: int
    """Index of the turn whose action succeeds."""
    score: float
    """Of the outcome, with the replacement."""

    def row(self) -> tuple[dict[str, Any], str]:
        """Returns the pair, and the kind of its task."""
        _, source, row, episode = self.episode
        _, origin, other, succeeded = self.donor
        turn, better = episode.turns[self.place], succeeded.turns[self.donated]
        assert episode.outcome is not None
        columns = {
            "prompt": [{"role": message.role, "content": message.content} for message in turn.observation],
            "chosen": [{"role": "assistant", "content": better.action}],
            "rejected": [{"role": "assistant", "content": turn.action}],
            **template_arguments(source.chat(turn.agent)),
            "score": self.score,
            "margin": self.score - episode.outcome.score,
            "n": 1,
            "provenance": origin.turn(other, succeeded, better, succeeded.verdicts[self.donated]),
            "rejected_provenance": source.turn(row, episode, turn, episode.verdicts[self.place]),
        }
        return columns, episode.kind


REPLACED = "replaced"
"""The end of an episode for which there is a replacement."""


def replacements(
    read: Sequence[Read], agent: str | None, stages: Callable[[Run], Stages], *, tries: int, threads: int
) -> tuple[list[Replacement], Mapping[str, int]]:
    """Returns, for every failed episode that can be explained, the first of at most ``tries`` replacements
    with which it succeeds; those of the same attempt come first, then the best scored.

    Args:
        agent: of this agent's turns alone; None: of every agent's.
        stages: where the episodes of a run are replayed.

    Returns:
        The replacements, in the order of the episodes, and how many episodes had which end: ``REPLACED``, or
        why there is no replacement.
    """
    donors = _donors(read)
    failed = [(one, found.culprit.turn) for one in read if (found := diagnose(one[3].turns, one[3].outcome))]
    wanted = [(one, place) for one, place in failed if agent in (None, one[3].turns[place].agent)]

    def try_all(failure: tuple[Read, int]) -> Replacement | str:
        one, place = failure
        turn = one[3].turns[place]
        candidates = _ranked(donors.get((one[3].task_id, turn.agent), []), turn)[:tries]
        return (
            _first_success(one, place, candidates, stages(one[0])) if candidates else "that nobody did better"
        )

    with ThreadPoolExecutor(threads, "replay") as pool:
        ends = list(pool.map(try_all, wanted))
    replaced = [end for end in ends if isinstance(end, Replacement)]
    return replaced, Counter(end if isinstance(end, str) else REPLACED for end in ends)


def _donors(read: Sequence[Read]) -> dict[tuple[str, str], list[tuple[Read, int]]]:
    """Returns (task, agent) -> that agent's actions in the episodes that succeeded, but for programs that
    failed and completions that were cut off."""
    donors: dict[tuple[str, str], list[tuple[Read, int]]] = defaultdict(list)
    for one in read:
        episode = one[3]
        if episode.outcome is None or not episode.outcome.success:
            continue
        for place, turn in enumerate(episode.turns):
            ran = turn.result is None or turn.result.status == "ok"
            if turn.action.strip() and ran and not cut_off(one[2], turn):
                donors[episode.task_id, turn.agent].append((one, place))
    return donors


def _ranked(donors: Sequence[tuple[Read, int]], turn: Turn) -> list[tuple[Read, int]]:
    """Returns one donor for each other action, those of the same attempt first, then the best scored."""

    def rank(donor: tuple[Read, int]) -> tuple[bool, float]:
        (*_, episode), place = donor
        verdict = episode.verdicts[place]
        return episode.turns[place].attempt == turn.attempt, 0.0 if verdict is None else verdict.score

    distinct = dict[str, tuple[Read, int]]()
    for donor in sorted(donors, key=rank, reverse=True):
        action = donor[0][3].turns[donor[1]].action
        if action != turn.action:
            distinct.setdefault(action, donor)
    return list(distinct.values())


def _first_success(
    one: Read, place: int, candidates: Sequence[tuple[Read, int]], stages: Stages
) -> Replacement | str:
    """Returns the first candidate with which the episode succeeds, or why there is none."""
    _, _, row, episode = one
    assert episode.outcome is not None
    try:
        replayer = stages.replayer(episode.turns, row.get("seed") or 0)
        again = replayer.again(episode.turns)
        if again.outcome.success or abs(again.outcome.score - episode.outcome.score) > TOLERANCE:
            return "whose replay ends differently"
        for donor, donated in candidates:
            outcome = replayer.branch(again, place, donor[3].turns[donated].action)
            if outcome.success:
                return Replacement(one, place, donor, donated, outcome.score)
    except CoachError as error:
        return f"not replayed ({error})"
    return "with no replacement that succeeds"

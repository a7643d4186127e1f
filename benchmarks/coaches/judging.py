"""Asks a coach about recorded cases: as they were, a second time, padded, and attacked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, cast

from benchmarks.corpus.cases import Case
from coaches import reward
from coaches.attacks import ATTACKS
from coaches.base import AnyCoach, Coach, HindsightCoach, History, Verdict, judges_turns
from coaches.inner import build, prefix
from coaches.reward import Judged
from envs.types import Turn

_IDLE = (
    "This note repeats what stands above in other words and adds nothing to it. The work is the one that\n"
    "was described, the steps are in the order in which they were listed, and the names are unchanged.\n"
)
PADDING = "\n\n" + 6 * _IDLE
"""Put at the end of an action: longer, and not a bit better."""


@dataclass(frozen=True)
class JudgedCase:
    """A case with what a coach said of it."""

    case: Case
    verdicts: tuple[Verdict | None, ...]
    causes: tuple[str, ...]
    """Why there is no verdict, for each turn that has none."""
    seconds: float
    """Until all verdicts were there."""


@dataclass(frozen=True)
class Attacked:
    """What one attack did to the score of one turn."""

    case: Case
    attack: str
    without: float
    with_it: float | None
    """None: the attack cost the coach its verdict, which raises nothing."""


@dataclass(frozen=True)
class Judgement:
    """All that a coach was asked."""

    first: tuple[JudgedCase, ...]
    again: tuple[JudgedCase, ...]
    """The same cases, with nothing taken from a cache; empty where that was not asked for."""
    padded: tuple[JudgedCase, ...]
    """Sound cases whose actions end in ``PADDING``: each alone, in an otherwise unchanged episode, for a
    coach that judges turns; all at once for one that judges episodes."""
    attacked: tuple[Attacked, ...]


def judge(
    node: Mapping[str, Any], cases: Sequence[Case], *, retest: bool, attacked: int, threads: int
) -> Judgement:
    """Builds the coach of ``node`` and asks it about ``cases``; ``attacked``: of how many faulty ones the
    culprit's turn is attacked.

    Raises:
        ConfigError: the coach cannot be built, or cannot judge such episodes.
        BudgetError: its money is spent.
    """
    coach = build(node)
    fresh = uncached(node)
    again = coach if fresh == node else build(fresh)
    sound = [case for case in cases if case.label is None]
    faulty = [case for case in cases if case.label is not None]
    with ThreadPoolExecutor(threads, "case") as pool:
        first = tuple(pool.map(lambda case: _judged(coach, case), cases))
        second = tuple(pool.map(lambda case: _judged(again, case), cases)) if retest else ()
        padded = tuple(pool.map(lambda case: _padded(coach, case), sound))
        attacks = tuple(pool.map(lambda case: _attacked(coach, case), spread(faulty, attacked)))
    return Judgement(first, second, padded, tuple(one for found in attacks for one in found))


def uncached(node: Any) -> Any:
    """``node`` with every ``cache: true`` in it, and in the nodes in it, turned off."""
    if isinstance(node, Mapping):
        return {
            key: False if key == "cache" and value is True else uncached(value) for key, value in node.items()
        }
    return [uncached(one) for one in node] if isinstance(node, list) else node


def ask(coach: AnyCoach, case: Case, turns: Sequence[Turn]) -> list[Judged]:
    """The coach's verdict on every one of ``turns``, or why there is none, in the way that it is made for."""
    history = turns if case.answer is None else History(turns, case.answer)
    if judges_turns(coach):
        return [reward.judge(cast(Coach, coach), prefix(history, place + 1)) for place in range(len(turns))]
    assert case.episode.outcome is not None
    return reward.judge_episode(cast(HindsightCoach, coach), history, case.episode.outcome)


def _judged(coach: AnyCoach, case: Case) -> JudgedCase:
    start = time.perf_counter()
    judged = ask(coach, case, case.episode.turns)
    return _case(case, judged, time.perf_counter() - start)


def _case(case: Case, judged: Sequence[Judged], seconds: float) -> JudgedCase:
    causes = tuple(cause for verdict, cause in judged if verdict is None)
    return JudgedCase(case, tuple(verdict for verdict, _ in judged), causes, seconds)


def _padded(coach: AnyCoach, case: Case) -> JudgedCase:
    longer = [replace(turn, action=turn.action + PADDING) for turn in case.episode.turns]
    start = time.perf_counter()
    alone = judges_turns(coach)
    judged = [_one(coach, case, turn) for turn in longer] if alone else ask(coach, case, longer)
    return _case(case, judged, time.perf_counter() - start)


def _one(coach: AnyCoach, case: Case, turn: Turn, earlier: Sequence[Turn] | None = None) -> Judged:
    """On one changed turn of an episode."""
    turns = case.episode.turns
    before = tuple(turns[: turn.index] if earlier is None else earlier)
    if judges_turns(coach):
        history = (*before, turn)
        return reward.judge(
            cast(Coach, coach), history if case.answer is None else History(history, case.answer)
        )
    return ask(coach, case, (*before, turn, *turns[turn.index + 1 :]))[turn.index]


def _attacked(coach: AnyCoach, case: Case) -> list[Attacked]:
    assert case.label is not None
    history = case.episode.turns[: case.label.turn + 1]
    plain, _ = _one(coach, case, history[-1])
    if plain is None:
        return []
    found = []
    for attack in ATTACKS:
        planted = attack.plant(history)
        if planted is not None:
            verdict, _ = _one(coach, case, planted[-1], planted[:-1])
            score = None if verdict is None else verdict.score
            found.append(Attacked(case, attack.name, plain.score, score))
    return found


def spread(cases: Sequence[Case], number: int) -> list[Case]:
    """``number`` of the cases, of as many kinds of fault as there are."""
    turns: dict[str, int] = {}
    ranked = []
    for place, case in enumerate(cases):
        assert case.label is not None
        turns[case.label.kind] = turns.get(case.label.kind, -1) + 1
        ranked.append((turns[case.label.kind], place))
    return [cases[place] for _, place in sorted(ranked)[:number]]

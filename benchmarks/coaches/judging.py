"""Lets a coach judge recorded cases: as recorded, a second time, padded, and attacked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

from benchmarks.coaches import files
from benchmarks.corpus.cases import Case
from coaches.attacks import ATTACKS
from coaches.base import AnyCoach, Coach, History, Verdict, check_agents, judges_turns, reads_files
from coaches.judging.inner import build_coach
from coaches.judging.verdicts import Judged, judge_episode, judge_turn
from coaches.replay.stages import Stages
from envs.types import Turn

_IDLE = (
    "This note repeats what stands above in other words and adds nothing to it. The work is the one that\n"
    "was described, the steps are in the order in which they were listed, and the names are unchanged.\n"
)
PADDING = "\n\n" + 6 * _IDLE
"""Appended to an action: it makes the action longer and no better."""


@dataclass(frozen=True)
class JudgedCase:
    """A case with the verdicts of one coach."""

    case: Case
    verdicts: tuple[Verdict | None, ...]
    causes: tuple[str, ...]
    """For each turn without a verdict, why it has none."""
    seconds: float
    """Time until all verdicts were there."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Cause -> the first message that came with it."""


@dataclass(frozen=True)
class Attacked:
    """The score of one turn without and with one attack."""

    case: Case
    attack: str
    plain: float
    attacked: float | None
    """None: under the attack the coach gave no verdict, so the attack raised no score."""


@dataclass(frozen=True)
class Judgement:
    """All verdicts of one coach."""

    first: tuple[JudgedCase, ...]
    again: tuple[JudgedCase, ...]
    """The same cases judged again, without any cache; empty unless a retest was requested."""
    padded: tuple[JudgedCase, ...]
    """Sound cases whose actions end in ``PADDING``. A coach that judges turns sees one padded action in an
    otherwise unchanged episode; a coach that judges episodes sees all of them padded."""
    attacked: tuple[Attacked, ...]


def judge(
    node: Mapping[str, Any], cases: Sequence[Case], *, retest: bool, attacked: int, threads: int
) -> Judgement:
    """Builds the coach of ``node`` and lets it judge ``cases``.

    ``attacked`` is the number of faulty cases whose faulty turn is attacked.

    Raises:
        ConfigError: the coach cannot be built, or cannot judge such episodes.
        BudgetError: it has exceeded its budget.
    """
    coach = build_coach(node)
    check_agents(coach, dict.fromkeys(turn.agent for case in cases for turn in case.episode.turns))
    fresh = uncached(node)
    again = coach if fresh == node else build_coach(fresh)
    sound = [case for case in cases if case.label is None]
    faulty = [case for case in cases if case.label is not None]
    with ThreadPoolExecutor(threads, "case") as pool:
        first = tuple(pool.map(lambda case: _judged(coach, case), cases))
        second = tuple(pool.map(lambda case: _judged(again, case), cases)) if retest else ()
        padded = tuple(pool.map(lambda case: _padded(coach, case), sound))
        victims = sample_kinds(faulty, attacked)
        by_text = [one for case in pool.map(lambda case: _attacked(coach, case), victims) for one in case]
        by_file = _attacked_by_files(coach, victims, pool) if reads_files(coach) else []
    return Judgement(first, second, padded, (*by_text, *by_file))


def uncached(node: Any) -> Any:
    """Returns ``node`` with every ``cache: true`` turned off, at any depth."""
    if isinstance(node, Mapping):
        return {
            key: False if key == "cache" and value is True else uncached(value) for key, value in node.items()
        }
    return [uncached(item) for item in node] if isinstance(node, list) else node


def ask(coach: AnyCoach, case: Case, turns: Sequence[Turn]) -> list[Judged]:
    """Returns the coach's verdict on each of ``turns`` or why there is none, by turn or by episode as it
    judges."""
    history = turns if case.answer is None else History(turns, case.answer)
    return judge_episode(coach, history, case.episode.outcome)


def _judged(coach: AnyCoach, case: Case) -> JudgedCase:
    start = time.perf_counter()
    judged = ask(coach, case, case.episode.turns)
    return _case(case, judged, time.perf_counter() - start)


def _case(case: Case, judged: Sequence[Judged], seconds: float) -> JudgedCase:
    causes = tuple(one.cause for one in judged if one.verdict is None)
    messages = {one.cause: one.message for one in reversed(judged) if one.verdict is None}
    return JudgedCase(case, tuple(one.verdict for one in judged), causes, seconds, messages)


def _padded(coach: AnyCoach, case: Case) -> JudgedCase:
    longer = [replace(turn, action=turn.action + PADDING) for turn in case.episode.turns]
    start = time.perf_counter()
    by_turn = judges_turns(coach)
    judged = [_judge_changed(coach, case, turn) for turn in longer] if by_turn else ask(coach, case, longer)
    return _case(case, judged, time.perf_counter() - start)


def _judge_changed(coach: AnyCoach, case: Case, turn: Turn, earlier: Sequence[Turn] | None = None) -> Judged:
    """Judges one changed turn of an episode; ``earlier``: the turns before it, if they are changed as
    well."""
    turns = case.episode.turns
    before = tuple(turns[: turn.index] if earlier is None else earlier)
    if judges_turns(coach):
        history = (*before, turn)
        return judge_turn(
            cast(Coach, coach), history if case.answer is None else History(history, case.answer)
        )
    return ask(coach, case, (*before, turn, *turns[turn.index + 1 :]))[turn.index]


def _attacked(coach: AnyCoach, case: Case) -> list[Attacked]:
    assert case.label is not None
    history = case.episode.turns[: case.label.turn + 1]
    plain = _judge_changed(coach, case, history[-1]).verdict
    if plain is None:
        return []
    results = []
    for attack in ATTACKS:
        planted = attack.plant(history)
        if planted is not None:
            verdict = _judge_changed(coach, case, planted[-1], planted[:-1]).verdict
            score = None if verdict is None else verdict.score
            results.append(Attacked(case, attack.name, plain.score, score))
    return results


def _attacked_by_files(coach: AnyCoach, cases: Sequence[Case], pool: ThreadPoolExecutor) -> list[Attacked]:
    """Tries the attacks by files, for which the episodes are played again (``benchmarks.coaches.files``)."""
    envs = dict.fromkeys(case.env for case in cases)
    stages = Stages([{"name": env} for env in envs], {"name": "auto"})

    def attacked(case: Case) -> list[Attacked]:
        return [Attacked(case, *scores) for scores in files.attacks(coach, stages, case)]

    try:
        return [one for found in pool.map(attacked, cases) for one in found]
    finally:
        stages.close()


def sample_kinds(cases: Sequence[Case], number: int) -> list[Case]:
    """Returns ``number`` of the faulty cases, of as many kinds of fault as possible."""
    seen: dict[str, int] = {}
    ranked = []
    for position, case in enumerate(cases):
        assert case.label is not None
        seen[case.label.kind] = seen.get(case.label.kind, -1) + 1
        ranked.append((seen[case.label.kind], position))
    return [cases[position] for _, position in sorted(ranked)[:number]]

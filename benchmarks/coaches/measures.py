"""From verdicts to the numbers of the leaderboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.coaches.judging import JudgedCase, Judgement
from benchmarks.common import estimates
from benchmarks.common.estimates import NOTHING, Estimate, Sample
from benchmarks.corpus.cases import Case
from coaches.bias import effects
from coaches.judging.learning import JudgedEpisode
from coaches.monitor import GAP

FAULTY = 5.0
"""A sound turn that scores less has been called faulty."""
_RAISED = 1e-6


@dataclass(frozen=True)
class Row:
    """One coach on one corpus. Scores are in points of 0 to 10; every interval is one of 95 %."""

    coach: str
    found_agent: Estimate
    """Share of faulty episodes in which the suspect (``suspects``) is the culprit."""
    found_turn: Estimate
    """Share in which the lowest score is the faulty turn's; ties count as the share they would win."""
    margin: Estimate
    """Mean score of a faulty episode's other turns, less the faulty turn's."""
    auc: Estimate
    """Chance that a turn without fault scores above a faulty one, over all episodes; 0.5 knows nothing."""
    false_blame: Estimate
    """Share of sound episodes in which somebody is blamed, or a turn scores below ``FAULTY``."""
    calibration: Estimate
    """Expected error of score / 10 as the chance that a turn is sound (``estimates.calibration_error``)."""
    retest: Estimate
    """Mean difference, without sign, between two times that the same turn was judged."""
    kind_bias: Estimate
    """Turns of sound episodes: score in regression above that in classification, at equal outcome and equal
    evidence, as the bias monitor has it (``coaches.bias.effects``)."""
    length_bias: Estimate
    """What ``judging.PADDING`` adds to the score of a turn of a sound episode."""
    position_bias: Estimate
    """Turns of sound episodes: mean score of the last agent's, less that of the first's."""
    resisted: Estimate
    """Share of attacks on a faulty turn that do not raise its score."""
    masked: Estimate
    """Share of turns without a verdict."""
    causes: Mapping[str, int]
    """Of those."""
    cost: float
    """US dollars for 100 verdicts."""
    seconds: float
    """Mean time of a verdict; of an episode's divided by its turns where it is judged as a whole."""
    by_kind: Mapping[str, Estimate]
    """``found_agent`` for each kind of fault."""


def measure(name: str, judgement: Judgement) -> Row:
    """The coach's row."""
    first = judgement.first
    faulty = [one for one in first if one.case.label is not None]
    sound = [one for one in first if one.case.label is None]
    turns = sum(len(one.verdicts) for one in first)
    costs = [v.cost for one in first for v in one.verdicts if v is not None]
    return Row(
        coach=name,
        found_agent=estimates.share([(_task(one), found_agent(one)) for one in faulty]),
        found_turn=estimates.share([(_task(one), found_turn(one)) for one in faulty]),
        margin=estimates.mean(list(_margins(faulty))),
        auc=estimates.statistic(_labelled(first), estimates.auc),
        false_blame=estimates.share([(_task(one), float(_accuses(one))) for one in sound]),
        calibration=estimates.statistic(_labelled(first), estimates.calibration_error),
        retest=_retest(first, judgement.again),
        kind_bias=_kind_bias(sound),
        length_bias=estimates.mean(list(_added(sound, judgement.padded))),
        position_bias=estimates.difference(_at_end(sound, -1), _at_end(sound, 0)),
        resisted=estimates.share(
            [
                (one.case.episode.task_id, float(one.with_it is None or one.with_it <= one.without + _RAISED))
                for one in judgement.attacked
            ]
        ),
        masked=estimates.share([(_task(one), float(v is None)) for one in first for v in one.verdicts]),
        causes=dict(Counter(cause for one in first for cause in one.causes)),
        cost=100 * fmean(costs) if costs else 0.0,
        seconds=sum(one.seconds for one in first) / turns if turns else 0.0,
        by_kind=_by_kind(faulty),
    )


def chance(cases: Sequence[Case]) -> tuple[float, float]:
    """``found_agent`` and ``found_turn`` that blind scores without ties would reach."""
    agents, turns = [], []
    for case in cases:
        if case.label is not None:
            played = [turn.agent for turn in case.episode.turns]
            agents.append(played.count(case.label.agent) / len(played))
            turns.append(1 / len(played))
    return (fmean(agents), fmean(turns)) if agents else (0.0, 0.0)


def suspects(one: JudgedCase) -> list[str]:
    """One agent for each turn that has the lowest score: whom its verdict blames, else who played it."""
    return [
        verdict.blame or turn.agent
        for turn, verdict in zip(one.case.episode.turns, one.verdicts, strict=True)
        if verdict is not None and verdict.score == _lowest(one)
    ]


def found_agent(one: JudgedCase) -> float:
    """Share of the suspects who are the culprit; 0 without a verdict."""
    assert one.case.label is not None
    found = suspects(one)
    return found.count(one.case.label.agent) / len(found) if found else 0.0


def found_turn(one: JudgedCase) -> float:
    """1 over the number of turns that share the lowest score, if the faulty one is among them, else 0."""
    assert one.case.label is not None
    low = [i for i, v in enumerate(one.verdicts) if v is not None and v.score == _lowest(one)]
    return 1 / len(low) if one.case.label.turn in low else 0.0


def _lowest(one: JudgedCase) -> float | None:
    return min((verdict.score for verdict in one.verdicts if verdict is not None), default=None)


def _task(one: JudgedCase) -> str:
    return one.case.episode.task_id


def _margins(faulty: Sequence[JudgedCase]) -> Iterator[Sample]:
    for one in faulty:
        assert one.case.label is not None
        culprit = one.verdicts[one.case.label.turn]
        others = [v.score for i, v in enumerate(one.verdicts) if v is not None and i != one.case.label.turn]
        if culprit is not None and others:
            yield _task(one), fmean(others) - culprit.score


def _labelled(judged: Sequence[JudgedCase]) -> list[list[tuple[float, float]]]:
    """For each task (score, 1 if the turn is sound else 0) of its turns."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for one in judged:
        fault = None if one.case.label is None else one.case.label.turn
        groups.setdefault(_task(one), []).extend(
            (verdict.score, float(i != fault))
            for i, verdict in enumerate(one.verdicts)
            if verdict is not None
        )
    return list(groups.values())


def _accuses(one: JudgedCase) -> bool:
    return any(v is not None and (v.blame is not None or v.score < FAULTY) for v in one.verdicts)


def _pairs(first: Sequence[JudgedCase], second: Sequence[JudgedCase]) -> Iterator[tuple[str, float, float]]:
    """Task and both scores of every turn that has both; the cases are the same, in the same order."""
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.verdicts, other.verdicts, strict=True):
            if a is not None and b is not None:
                yield _task(one), a.score, b.score


def _retest(first: Sequence[JudgedCase], again: Sequence[JudgedCase]) -> Estimate:
    if not again:
        return NOTHING
    return estimates.mean([(task, abs(a - b)) for task, a, b in _pairs(first, again)])


def _added(sound: Sequence[JudgedCase], padded: Sequence[JudgedCase]) -> Iterator[Sample]:
    for task, plain, longer in _pairs(sound, padded):
        yield task, longer - plain


def _kind_bias(sound: Sequence[JudgedCase]) -> Estimate:
    ledger = effects.Ledger()
    episodes = [
        JudgedEpisode(_task(one), one.case.episode.turns, one.verdicts, one.case.episode.outcome)
        for one in sound
        if one.case.episode.outcome is not None
    ]
    ledger.add(effects.samples(episodes))
    gap = effects.Fit(ledger).gap("kind", *GAP, confidence=effects.CONFIDENCE)
    return NOTHING if gap is None else Estimate(gap.estimate, gap.low, gap.high, len(episodes))


def _at_end(sound: Sequence[JudgedCase], place: int) -> list[Sample]:
    """Scores of the turns of the agent that plays first (0) or last (-1)."""
    return [
        (_task(one), v.score)
        for one in sound
        for turn, v in zip(one.case.episode.turns, one.verdicts, strict=True)
        if v is not None and turn.agent == one.case.episode.turns[place].agent
    ]


def _by_kind(faulty: Sequence[JudgedCase]) -> dict[str, Estimate]:
    groups: dict[str, list[Sample]] = {}
    for one in faulty:
        assert one.case.label is not None
        groups.setdefault(one.case.label.kind, []).append((_task(one), found_agent(one)))
    return {kind: estimates.share(groups[kind]) for kind in sorted(groups)}

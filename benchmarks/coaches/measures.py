"""Computes the numbers of the leaderboard from verdicts."""

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
"""A turn that scores less counts as called faulty."""
_RAISED = 1e-6


@dataclass(frozen=True)
class Row:
    """One coach on one corpus. Scores are in points from 0 to 10; all intervals are 95 % intervals."""

    coach: str
    found_agent: Estimate
    """Share of faulty episodes in which the suspect (``suspects``) is the culprit."""
    found_turn: Estimate
    """Share of faulty episodes in which the faulty turn scores lowest; of k tied turns each counts 1 / k."""
    margin: Estimate
    """Mean score of a faulty episode's other turns, minus the faulty turn's."""
    auc: Estimate
    """Probability that a sound turn scores above a faulty one, over all episodes; 0.5 is chance level."""
    false_blame: Estimate
    """Share of sound episodes in which an agent is blamed, or a turn scores below ``FAULTY``."""
    calibration: Estimate
    """Expected calibration error of score / 10 as the probability that a turn is sound
    (``estimates.calibration_error``)."""
    retest: Estimate
    """Mean absolute difference between two verdicts on the same turn."""
    kind_bias: Estimate
    """Turns of sound episodes: by how much regression scores above classification, at equal outcome and equal
    evidence, as the bias monitor computes it (``coaches.bias.effects``)."""
    length_bias: Estimate
    """By how much ``judging.PADDING`` raises the score of a turn of a sound episode."""
    position_bias: Estimate
    """Turns of sound episodes: mean score of the last agent's turns, minus that of the first agent's."""
    resisted: Estimate
    """Share of attacks on a faulty turn that do not raise its score."""
    masked: Estimate
    """Share of turns without a verdict."""
    causes: Mapping[str, int]
    """Number of turns without a verdict, by cause."""
    messages: Mapping[str, str]
    """Cause -> the first message that came with it."""
    cost: float
    """US dollars for 100 verdicts."""
    seconds: float
    """Mean time of a verdict; where episodes are judged as a whole, the episode's time over its turns."""
    by_kind: Mapping[str, Estimate]
    """``found_agent`` for each kind of fault."""
    by_edition: Mapping[int, Finding]
    """The same for each edition of the corpus: coaches may have been developed on faults of the first."""


@dataclass(frozen=True)
class Finding:
    """What a coach found among the episodes of one edition, as ``Row`` defines it."""

    found_agent: Estimate
    found_turn: Estimate
    margin: Estimate
    false_blame: Estimate


def measure(name: str, judgement: Judgement) -> Row:
    """Computes the coach's row of the leaderboard."""
    first = judgement.first
    faulty = [one for one in first if one.case.label is not None]
    sound = [one for one in first if one.case.label is None]
    turns = sum(len(one.verdicts) for one in first)
    costs = [v.cost for one in first for v in one.verdicts if v is not None]
    found = _finding(faulty, sound)
    return Row(
        coach=name,
        found_agent=found.found_agent,
        found_turn=found.found_turn,
        margin=found.margin,
        auc=estimates.statistic(_labelled(first), estimates.auc),
        false_blame=found.false_blame,
        calibration=estimates.statistic(_labelled(first), estimates.calibration_error),
        retest=_retest(first, judgement.again),
        kind_bias=_kind_bias(sound),
        length_bias=estimates.mean(list(_length_effects(sound, judgement.padded))),
        position_bias=estimates.difference(_scores_at(sound, -1), _scores_at(sound, 0)),
        resisted=estimates.share(
            [
                (one.case.episode.task_id, float(one.attacked is None or one.attacked <= one.plain + _RAISED))
                for one in judgement.attacked
            ]
        ),
        masked=estimates.share([(_task(one), float(v is None)) for one in first for v in one.verdicts]),
        causes=dict(Counter(cause for one in first for cause in one.causes)),
        messages={cause: text for one in reversed(first) for cause, text in one.messages.items()},
        cost=100 * fmean(costs) if costs else 0.0,
        seconds=sum(one.seconds for one in first) / turns if turns else 0.0,
        by_kind=_by_kind(faulty),
        by_edition={
            edition: _finding(
                *([one for one in part if one.case.edition == edition] for part in (faulty, sound))
            )
            for edition in sorted({one.case.edition for one in first})
        },
    )


def _finding(faulty: Sequence[JudgedCase], sound: Sequence[JudgedCase]) -> Finding:
    return Finding(
        found_agent=estimates.share([(_task(one), found_agent(one)) for one in faulty]),
        found_turn=estimates.share([(_task(one), found_turn(one)) for one in faulty]),
        margin=estimates.mean(list(_margins(faulty))),
        false_blame=estimates.share([(_task(one), float(_accuses(one))) for one in sound]),
    )


def chance(cases: Sequence[Case]) -> tuple[float, float]:
    """Returns the expected ``found_agent`` and ``found_turn`` of random scores without ties."""
    agents, turns = [], []
    for case in cases:
        if case.label is not None:
            played = [turn.agent for turn in case.episode.turns]
            agents.append(played.count(case.label.agent) / len(played))
            turns.append(1 / len(played))
    return (fmean(agents), fmean(turns)) if agents else (0.0, 0.0)


def suspects(one: JudgedCase) -> list[str]:
    """Returns one agent for each turn with the lowest score: the agent that its verdict blames, else its own
    agent."""
    return [
        verdict.blame or turn.agent
        for turn, verdict in zip(one.case.episode.turns, one.verdicts, strict=True)
        if verdict is not None and verdict.score == _lowest(one)
    ]


def found_agent(one: JudgedCase) -> float:
    """Returns the share of the suspects who are the culprit; 0 if there is no verdict."""
    assert one.case.label is not None
    agents = suspects(one)
    return agents.count(one.case.label.agent) / len(agents) if agents else 0.0


def found_turn(one: JudgedCase) -> float:
    """Returns 1 / k for k turns that share the lowest score if the faulty turn is among them, else 0."""
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
    """Returns for each task the pairs (score, 1 if the turn is sound else 0) of its turns."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for one in judged:
        faulty_turn = None if one.case.label is None else one.case.label.turn
        groups.setdefault(_task(one), []).extend(
            (verdict.score, float(i != faulty_turn))
            for i, verdict in enumerate(one.verdicts)
            if verdict is not None
        )
    return list(groups.values())


def _accuses(one: JudgedCase) -> bool:
    return any(v is not None and (v.blame is not None or v.score < FAULTY) for v in one.verdicts)


def _pairs(first: Sequence[JudgedCase], second: Sequence[JudgedCase]) -> Iterator[tuple[str, float, float]]:
    """Returns the task and both scores of every turn that has two. Both sequences have the same cases in the
    same order."""
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.verdicts, other.verdicts, strict=True):
            if a is not None and b is not None:
                yield _task(one), a.score, b.score


def _retest(first: Sequence[JudgedCase], again: Sequence[JudgedCase]) -> Estimate:
    if not again:
        return NOTHING
    return estimates.mean([(task, abs(a - b)) for task, a, b in _pairs(first, again)])


def _length_effects(sound: Sequence[JudgedCase], padded: Sequence[JudgedCase]) -> Iterator[Sample]:
    for task, plain, longer in _pairs(sound, padded):
        yield task, longer - plain


def _kind_bias(sound: Sequence[JudgedCase]) -> Estimate:
    moments = effects.Moments()
    episodes = [
        JudgedEpisode(_task(one), one.case.episode.turns, one.verdicts, one.case.episode.outcome)
        for one in sound
        if one.case.episode.outcome is not None
    ]
    moments.add(effects.samples(episodes))
    gap = effects.Fit(moments).gap("kind", *GAP, confidence=effects.CONFIDENCE)
    return NOTHING if gap is None else Estimate(gap.estimate, gap.low, gap.high, len(episodes))


def _scores_at(sound: Sequence[JudgedCase], position: int) -> list[Sample]:
    """Returns scores of the turns of the agent that acts first (``position`` 0) or last (-1)."""
    return [
        (_task(one), v.score)
        for one in sound
        for turn, v in zip(one.case.episode.turns, one.verdicts, strict=True)
        if v is not None and turn.agent == one.case.episode.turns[position].agent
    ]


def _by_kind(faulty: Sequence[JudgedCase]) -> dict[str, Estimate]:
    groups: dict[str, list[Sample]] = {}
    for one in faulty:
        assert one.case.label is not None
        groups.setdefault(one.case.label.kind, []).append((_task(one), found_agent(one)))
    return {kind: estimates.share(groups[kind]) for kind in sorted(groups)}

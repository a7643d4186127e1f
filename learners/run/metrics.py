"""Episodes -> the numbers a person reads: the grader's or counted, never the coach's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from scipy.stats import binomtest  # type: ignore[import-untyped]

from envs.types import Episode, Turn

Row = dict[str, float]


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval for a proportion (E. B. Wilson, JASA 22, 1927)."""
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(float(interval.low), float(interval.high))


def summarise(episodes: Sequence[Episode]) -> Row:
    """Means over episodes, all together, by kind (``success/regression``), by agent (``delivered/modeler``).

    ``success``: share that the grader accepts; ``raw``: mean score of those; ``fair``: mean over all, a
    failure counting as its fallback; ``delivered``: share of an agent's stages that left all its artifacts
    in order and its last code without an error; ``turns``: an agent's turns an episode.
    """
    row = _outcomes(episodes, "")
    for kind in sorted({episode.kind for episode in episodes}):
        row |= _outcomes([episode for episode in episodes if episode.kind == kind], f"/{kind}")
    for agent, stages in _stages(episodes).items():
        row[f"delivered/{agent}"] = _mean(float(delivered(stage)) for stage in stages)
        row[f"turns/{agent}"] = _mean(len(stage) for stage in stages)
    return row


def delivered(stage: Sequence[Turn]) -> bool:
    """Whether an agent ended with all that it must produce in order, and its last code ran without error."""
    results = [turn.result for turn in stage if turn.result is not None]
    produced = {spec.name for spec in stage[-1].role.produces}
    in_order = {check.name for check in stage[-1].checks if check.code == "ok"}
    return produced <= in_order and (not results or results[-1].status == "ok")


def _outcomes(episodes: Sequence[Episode], suffix: str) -> Row:
    outcomes = [episode.outcome for episode in episodes]
    scores = [outcome.score for outcome in outcomes if outcome.success]
    row = {
        f"episodes{suffix}": float(len(outcomes)),
        f"success{suffix}": _mean(float(outcome.success) for outcome in outcomes),
        f"fair{suffix}": _mean(outcome.metrics["fair"] for outcome in outcomes),
    }
    return row | ({f"raw{suffix}": _mean(scores)} if scores else {})


def _stages(episodes: Sequence[Episode]) -> dict[str, list[list[Turn]]]:
    agent_of: Callable[[Turn], str] = lambda turn: turn.agent  # noqa: E731
    stages: dict[str, list[list[Turn]]] = {}
    for episode in episodes:
        for agent, turns in groupby(episode.turns, agent_of):
            stages.setdefault(agent, []).append(list(turns))
    return stages


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)

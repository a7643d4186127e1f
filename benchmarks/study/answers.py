"""What the runs of a study say to each of its questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.common.estimates import Estimate
from benchmarks.study import measures
from benchmarks.study.grid import Question
from benchmarks.study.runs import Result

METRICS = ("success", "fair")
BY_KIND = ("success/classification", "success/regression", "gap")

Results = Mapping[str, Sequence[Result]]
"""Arm -> its finished runs."""


@dataclass(frozen=True)
class ArmSummary:
    """Means over an arm's seeds, with Student's t intervals."""

    arm: str
    seeds: tuple[int, ...]
    episodes: int
    """Held-out episodes of one evaluation, of all seeds together."""
    before: Mapping[str, Estimate]
    """By metric, before the first step."""
    after: Mapping[str, Estimate]
    area: Mapping[str, Estimate]
    """The area under the held-out curve, divided by the number of steps."""


@dataclass(frozen=True)
class Comparison:
    """An arm minus another one, over the seeds that both have."""

    arm: str
    base: str
    seeds: tuple[int, ...]
    after: Mapping[str, Estimate]
    """By metric, after training: paired by seed."""
    area: Mapping[str, Estimate]
    """The area under the held-out curve, paired by seed."""
    over_tasks: Mapping[str, Estimate]
    """By metric, after training: seeds averaged, paired by task."""


@dataclass(frozen=True)
class Answer:
    """The numbers for one question. Arms without a finished run are not in it."""

    question: Question
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]


def answer(question: Question, results: Results) -> Answer:
    """Returns the answer that ``results`` give to ``question``."""
    names = (*METRICS, *(BY_KIND if question.by_kind else ()))
    return Answer(
        question,
        tuple(summarise(arm, results[arm], names) for arm in question.arms if results.get(arm)),
        tuple(
            compare(results[arm], results[base], names)
            for arm, base in question.pairs
            if _seeds(results.get(arm, ())) & _seeds(results.get(base, ()))
        ),
    )


def summarise(arm: str, runs: Sequence[Result], names: Sequence[str]) -> ArmSummary:
    """Returns the summary of the finished runs of an arm, at least one."""
    curves = {name: [run.curve(name) for run in runs] for name in names}
    return ArmSummary(
        arm,
        tuple(run.run.seed for run in runs),
        sum(run.episodes for run in runs),
        before={name: measures.mean([curve[0] for curve in curves[name]]) for name in names},
        after={name: measures.mean([curve[-1] for curve in curves[name]]) for name in names},
        area={name: measures.mean([run.area(name) for run in runs]) for name in names},
    )


def compare(first: Sequence[Result], second: Sequence[Result], names: Sequence[str]) -> Comparison:
    """Returns ``first`` minus ``second``, which have at least one seed in common."""
    common = sorted(_seeds(first) & _seeds(second))
    left, right = ({run.run.seed: run for run in runs} for runs in (first, second))

    def by_seed(value: Callable[[Result, str], float], name: str) -> Estimate:
        return measures.paired(
            {seed: value(left[seed], name) for seed in common},
            {seed: value(right[seed], name) for seed in common},
        )

    return Comparison(
        first[0].run.arm,
        second[0].run.arm,
        tuple(common),
        after={name: by_seed(Result.last, name) for name in names},
        area={name: by_seed(Result.area, name) for name in names},
        over_tasks={
            name: measures.over_tasks(
                [left[seed].tasks[name] for seed in common], [right[seed].tasks[name] for seed in common]
            )
            for name in METRICS
        },
    )


def _seeds(runs: Sequence[Result]) -> set[int]:
    return {run.run.seed for run in runs}

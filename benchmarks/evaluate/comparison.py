"""Compares groups of runs: differences with intervals, tests, and what could have been found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.common import crossed, significance
from benchmarks.common.estimates import Estimate
from benchmarks.common.power import Power, powers
from benchmarks.common.significance import Flips
from benchmarks.evaluate.groups import Group, Measure, fair, success
from benchmarks.evaluate.repeats import disagreement
from conf import ConfigError
from conf.counts import plural


@dataclass(frozen=True)
class Tests:
    """p-values of a difference; None where it cannot be tested."""

    over_tasks: float
    """Permutation test of the differences of tasks: would other tasks of their kind show it?"""
    over_runs: float | None
    """t test of the means of runs: would other seeds show it? Welch's, or Student's for before and after."""


@dataclass(frozen=True)
class Difference:
    """A group minus a baseline, over the tasks that both have, of which each counts the same."""

    label: str
    baseline: str
    tasks: int
    left_out: int
    """Tasks that only one of the two has."""
    runs: tuple[int, int]
    """Of the baseline and of the group."""
    success: Estimate
    fair: Estimate
    success_tests: Tests
    fair_tests: Tests
    pairs: Flips | None
    """McNemar's test of the n-th episodes of each task: do they differ on these tasks, with these weights?
    None where the numbers of runs or episodes differ, so that there are no pairs."""
    power: Power | None
    """Of McNemar's test; None without pairs."""


def compare(groups: Sequence[Group], asked: float) -> tuple[list[Difference], list[str]]:
    """Returns each group minus its own evaluation before training, where there is one, and each later group
    minus the first; and a line for each two without a common task. ``asked``: see ``Power.difference``."""
    after = [group for group in groups if not group.before]
    own = [(group, one) for group in groups if group.before for one in after if one.label == group.label]
    differences, apart = list[Difference](), list[str]()
    for first, second in [*own, *((after[0], other) for other in after[1:])]:
        try:
            differences.append(difference(first, second, asked))
        except ConfigError as error:
            apart.append(f"not compared: {error}")
    return differences, apart


def difference(first: Group, second: Group, asked: float) -> Difference:
    """Returns ``second`` minus ``first``.

    Raises:
        ConfigError: they have no task in common.
    """
    tasks = sorted(set(first.tasks) & set(second.tasks))
    if not tasks:
        raise ConfigError(f"{first.runs[0].folder} and {second.runs[0].folder} have no task in common")
    pairs = _pairs(first, second, tasks)
    on_success, success_tests = _differ(first, second, success, tasks)
    on_fair, fair_tests = _differ(first, second, fair, tasks)
    return Difference(
        label=second.label,
        baseline=first.title,
        tasks=len(tasks),
        left_out=len(set(first.tasks) ^ set(second.tasks)),
        runs=(len(first.runs), len(second.runs)),
        success=on_success,
        fair=on_fair,
        success_tests=success_tests,
        fair_tests=fair_tests,
        pairs=pairs,
        power=powers(pairs.pairs, pairs.disagreement, asked) if pairs else None,
    )


def planned(group: Group, asked: float) -> Power:
    """Returns what a comparison of ``group`` with an equal team would find."""
    return powers(len(group.episodes), expected_disagreement(group), asked)


def expected_disagreement(group: Group) -> float:
    """Returns how often two equal teams end the same task differently.

    It comes from the repeats of each task; without repeats, from the share of successes, as if all tasks were
    equally hard, which asks for more pairs than are needed.
    """
    if group.repeats > 1:
        return float(group.cells(lambda one: disagreement(len(one), sum(e.success for e in one))).mean())
    rate = float(group.cells(success).mean())
    return 2 * rate * (1 - rate)


def left_out(differences: Sequence[Difference]) -> list[str]:
    """Returns a line for each comparison that leaves out tasks."""
    return [
        f"{one.label} minus {one.baseline}: over {plural(one.tasks, 'common task')}; "
        f"{plural(one.left_out, 'task')} that only one of the two has left out"
        for one in differences
        if one.left_out
    ]


def _differ(first: Group, second: Group, measure: Measure, tasks: Sequence[str]) -> tuple[Estimate, Tests]:
    before, after = first.cells(measure, tasks), second.cells(measure, tasks)
    over_tasks = significance.permutation(after.mean(axis=0) - before.mean(axis=0))
    if first.before:
        gains = after - before
        return crossed.mean(gains), Tests(over_tasks, significance.student(gains.mean(axis=1)))
    over_runs = significance.welch(before.mean(axis=1), after.mean(axis=1))
    return crossed.difference(before, after), Tests(over_tasks, over_runs)


def _pairs(first: Group, second: Group, tasks: Sequence[str]) -> Flips | None:
    """Pairs the n-th episodes of each task, run by run."""
    if len(first.runs) != len(second.runs):
        return None
    one, other = list[bool](), list[bool]()
    for before, after in zip(first.by_task, second.by_task, strict=True):
        for task in tasks:
            if len(before[task]) != len(after[task]):
                return None
            one += [episode.success for episode in before[task]]
            other += [episode.success for episode in after[task]]
    return significance.mcnemar(one, other)

"""Everything that an evaluation says, and how ``evaluation.json`` says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.common import crossed
from benchmarks.common.estimates import SEED
from benchmarks.common.power import Power
from benchmarks.evaluate import by_task, comparison
from benchmarks.evaluate.comparison import Difference
from benchmarks.evaluate.groups import Group
from benchmarks.evaluate.reading import Evaluation
from benchmarks.evaluate.repeats import Tries, tries, usual_ks


@dataclass(frozen=True)
class Results:
    """What was evaluated, and what follows from it."""

    groups: Sequence[Group]
    tries: Sequence[Tries]
    """Of each group."""
    differences: Sequence[Difference]
    planned: Power | None
    """What a comparison with an equal team would find; None with several groups."""
    notes: Sequence[str]
    """What was left out, a line each."""

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations of all groups; those before training have it in their labels."""
        return [run for group in self.groups for run in group.titled]

    def to_json(self) -> dict[str, Any]:
        """Returns everything as one JSON object."""
        return {
            "evaluations": [_evaluation(one) for one in self.evaluations],
            "groups": [
                {"label": group.title, "folders": [run.folder for run in group.runs]} | asdict(own)
                for group, own in zip(self.groups, self.tries, strict=True)
            ],
            "differences": [asdict(one) for one in self.differences],
            "planned": None if self.planned is None else asdict(self.planned),
            "notes": list(self.notes),
            "bootstrap": {"rounds": crossed.ROUNDS, "seed": SEED},
        }


def evaluated(groups: Sequence[Group], ks: Sequence[int] | None, asked: float) -> Results:
    """Returns the results of ``groups``, of which there may be none. ``ks``: tries, or None for the usual
    ones; ``asked``: the difference in success whose chance to be found is stated.

    Raises:
        ConfigError: a task has fewer episodes than one of ``ks``.
    """
    known = usual_ks(groups) if ks is None else sorted(set(ks))
    differences, apart = comparison.compare(groups, asked)
    return Results(
        groups=groups,
        tries=[tries(group, known) for group in groups],
        differences=differences,
        planned=comparison.planned(groups[0], asked) if len(groups) == 1 else None,
        notes=[*apart, *comparison.left_out(differences)],
    )


def _evaluation(one: Evaluation) -> dict[str, Any]:
    """Returns an evaluation with its results by task, and their means over tasks."""
    tasks = by_task.results(one.episodes)
    means = asdict(by_task.over_tasks(tasks))
    return asdict(one) | {"tasks": [asdict(task) for task in tasks], "over_tasks": means}

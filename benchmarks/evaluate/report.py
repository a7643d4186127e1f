"""What ``evaluation.json`` contains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.evaluate import by_task
from benchmarks.evaluate.reading import Difference, Evaluation


def to_json(evaluations: Sequence[Evaluation], differences: Sequence[Difference]) -> dict[str, Any]:
    """Returns everything as one JSON object."""
    return {
        "evaluations": [_evaluation(one) for one in evaluations],
        "differences": [asdict(one) for one in differences],
    }


def _evaluation(one: Evaluation) -> dict[str, Any]:
    """Returns an evaluation with its results by task, and their means over tasks."""
    tasks = by_task.results(one.episodes)
    means = asdict(by_task.over_tasks(tasks))
    return asdict(one) | {"tasks": [asdict(task) for task in tasks], "over_tasks": means}

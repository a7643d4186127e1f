"""Results of each task of an evaluation, and the means over tasks that DSBench reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.evaluate.reading import Played
from conf.counts import plural
from conf.tables import make_table

MAX_ROWS = 100
"""Longer tables show the last row alone; the report has all."""


@dataclass(frozen=True)
class TaskResult:
    """Means over the episodes of one task."""

    task: str
    metric: str | None
    """The task's own metric."""
    episodes: int
    success: float
    fair: float
    score: float | None
    """The task's metric, over the episodes in which it could be computed; None if there are none."""
    completed: float | None
    """Share of episodes with a result (``envs.dsbench.grading.grade``); None where outcomes do not say."""
    rpg: float | None
    """DSBench's relative performance gap, 0 without a result; None where the baseline is unknown."""


def results(episodes: Sequence[Played]) -> list[TaskResult]:
    """Returns one result per task, sorted by id. Lost episodes are in none."""
    names = sorted({episode.task for episode in episodes})
    return [_result(name, [episode for episode in episodes if episode.task == name]) for name in names]


def over_tasks(tasks: Sequence[TaskResult]) -> TaskResult:
    """Returns the means over tasks: each counts the same, whatever its number of episodes.

    With one episode of each task, ``completed`` is DSBench's task completion rate, and ``rpg`` its score
    (arXiv 2409.07703). Tasks without these two are left out of their means. There is no mean of different
    metrics.
    """
    return TaskResult(
        task=f"all {plural(len(tasks), 'task')}",
        metric=None,
        episodes=sum(task.episodes for task in tasks),
        success=sum(task.success for task in tasks) / len(tasks),
        fair=sum(task.fair for task in tasks) / len(tasks),
        score=None,
        completed=_mean([task.completed for task in tasks]),
        rpg=_mean([task.rpg for task in tasks]),
    )


def table(label: str, episodes: Sequence[Played]) -> Table:
    """Returns a table of all tasks that were played, and of the means over them."""
    tasks = results(episodes)
    columns = ["task", "metric", "episodes", "success", "fair", "score", "completed", "RPG"]
    drawn = make_table(f"Tasks of {label}", columns, text=columns[:2])
    for task in tasks if len(tasks) <= MAX_ROWS else ():
        _add_row(drawn, task)
    drawn.add_section()
    _add_row(drawn, over_tasks(tasks))
    return drawn


def _result(name: str, episodes: Sequence[Played]) -> TaskResult:
    return TaskResult(
        task=name,
        metric=episodes[0].metric,
        episodes=len(episodes),
        success=sum(episode.success for episode in episodes) / len(episodes),
        fair=sum(episode.fair for episode in episodes) / len(episodes),
        score=_mean([episode.score for episode in episodes]),
        completed=_mean([episode.completed for episode in episodes]),
        rpg=_mean([episode.rpg for episode in episodes]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the values that are known; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _add_row(drawn: Table, task: TaskResult) -> None:
    numbers = (task.success, task.fair, task.score, task.completed, task.rpg)
    cells = ("–" if number is None else f"{number:.4g}" for number in numbers)
    drawn.add_row(task.task, task.metric or "–", str(task.episodes), *cells)

from __future__ import annotations

from collections import Counter

from envs.types import Task
from learners.rollout.tasks import sample_tasks


def tasks(**kinds: int) -> list[Task]:
    return [Task(f"{kind}{i}", "", kind, None) for kind, count in kinds.items() for i in range(count)]


def test_a_step_samples_the_same_tasks_whatever_was_sampled_before() -> None:
    pool = tasks(a=5, b=3)
    assert sample_tasks(pool, step=7, count=4, seed=1) == sample_tasks(pool, step=7, count=4, seed=1)
    assert any(
        sample_tasks(pool, step=s, count=4, seed=1) != sample_tasks(pool, step=s, count=4, seed=2)
        for s in range(5)
    )


def test_kinds_are_sampled_in_equal_parts_however_many_tasks_they_have() -> None:
    sample_tasksn = Counter(
        task.kind for s in range(9) for task in sample_tasks(tasks(a=5, b=3, c=1), step=s, count=4, seed=0)
    )
    assert sample_tasksn == {"a": 12, "b": 12, "c": 12}


def test_every_task_is_played_before_any_is_played_again() -> None:
    order = [task.id for step in range(10) for task in sample_tasks(tasks(a=5), step=step, count=2, seed=3)]
    for start in range(0, 20, 5):
        assert len(set(order[start : start + 5])) == 5
    assert order[:5] != order[5:10] or order[5:10] != order[10:15]

"""Which tasks a step plays: a pure function of seed and step, so that a resumed run samples the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.types import Task


def sample_tasks(tasks: Sequence[Task], *, step: int, count: int, seed: int) -> list[Task]:
    """Returns the ``count`` tasks of a step, in equal parts from each kind of task.

    Each kind runs through its own endless sequence of seeded permutations, so that every task of a kind is
    played before any is played again. Where ``count`` is no multiple of the number of kinds, the remainder
    rotates among them.
    """
    kinds = sorted({task.kind for task in tasks})
    sampled = []
    for position in range(step * count, (step + 1) * count):
        kind = kinds[position % len(kinds)]
        pool = [task for task in tasks if task.kind == kind]
        epoch, index = divmod(position // len(kinds), len(pool))
        order = np.random.default_rng([seed, kinds.index(kind), epoch]).permutation(len(pool))
        sampled.append(pool[order[index]])
    return sampled

"""Which tasks a step plays: a pure function of seed and step, so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.types import Task


def draw(tasks: Sequence[Task], *, step: int, count: int, seed: int) -> list[Task]:
    """The ``count`` tasks of a step, kinds in equal parts where there are several.

    Each kind runs through its own endless sequence of seeded permutations, so that every task of a kind is
    played before any is played again. Where kinds do not divide ``count``, the remainder rotates.
    """
    kinds = sorted({task.kind for task in tasks})
    drawn = []
    for place in range(step * count, (step + 1) * count):
        kind = kinds[place % len(kinds)]
        pool = [task for task in tasks if task.kind == kind]
        turn, index = divmod(place // len(kinds), len(pool))
        order = np.random.default_rng([seed, kinds.index(kind), turn]).permutation(len(pool))
        drawn.append(pool[order[index]])
    return drawn

"""Synthetic tables with known truth (``env.source=synthetic``): any number of tasks that nobody has seen.

They are a control for real tables, which a model may know by heart, and a training set where real tables are
too few. A task is a pure function of its id and the settings: the same bytes on every machine, whatever other
tasks there are. Everything is computed with integers, from the raw numbers of a PCG64 generator, which numpy
keeps stable (NEP 19). ``recipe`` draws what a task is like, ``rows`` its table, and ``files`` writes it.
"""

from __future__ import annotations

from collections.abc import Collection

from envs.dsbench.spec import Candidate
from envs.dsbench.synthetic.files import load
from envs.dsbench.synthetic.settings import Synthetic

__all__ = ["Synthetic", "synthetic"]


def synthetic(settings: Synthetic, names: Collection[str] | None = None) -> list[Candidate]:
    """Returns the tasks ``synthetic_<seed>_train_000``, …; ``names``: only those of them."""
    counts = {"train": settings.train, "heldout": settings.heldout}
    tasks = [
        (f"synthetic_{settings.seed}_{split}_{number:03d}", split, number)
        for split, count in counts.items()
        for number in range(count)
    ]
    return [
        Candidate(name, lambda name=name, split=split, number=number: load(settings, name, split, number))  # type: ignore[misc]
        for name, split, number in tasks
        if names is None or name in names
    ]

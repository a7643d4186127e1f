"""Weights outside of their trainers: checkpoints, and files through which they reach engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from learners.planning.job import Job

Items = Mapping[str, float]
"""Name -> bytes."""


def nonzero(items: Items) -> Items:
    """Returns ``items`` without those of no size."""
    return {name: size for name, size in items.items() if size}


def moved(job: Job) -> Items:
    """Returns the host memory of weights in transfer to the engines of a machine: files in shared memory,
    which all engines read, and the copy that they are written from."""
    size = _lent_at_start(job)
    files = 0.0 if job.scratch else size
    return nonzero({"weights for engines": files, "copy of weights for engines": size})


def _lent_at_start(job: Job) -> float:
    """Bytes of one whole model a group: at the start every group lends one, the base of adapters too."""
    return float(job.layout.groups * job.shapes.parameters * job.compute) if job.layout.engines else 0.0


def cast(job: Job) -> Items:
    """Returns the GPU memory of weights that are cast for engines; sharded ones are cast in host memory."""
    if job.adapters or job.layout.ranks > 1 or job.compute == job.element:
        return {}
    return {"copy of weights for engines": float(job.shapes.parameters * job.compute)}


def lent_bytes(job: Job) -> float:
    """Returns the size of the files through which one policy's weights reach the engines of a machine."""
    return float(job.trained * (job.trained_element if job.adapters else job.compute))


def checkpoint_bytes(job: Job) -> float:
    """Returns the size of one policy's checkpoint: what it trains, and two moments. 0 if none learns."""
    return 3.0 * job.trained * job.trained_element if job.learns else 0.0


def disk(jobs: Sequence[Job]) -> Items:
    """Returns bytes on disk: checkpoints, including the one being written, and weights for engines where
    ``generator.scratch`` names a folder for them."""
    checkpoints = sum(
        (job.checkpoints_kept + 1) * job.trained_policies * checkpoint_bytes(job) for job in jobs
    )
    lent = max(_lent_at_start(job) * job.scratch for job in jobs)
    return nonzero({"checkpoints": checkpoints, "weights for engines": lent})

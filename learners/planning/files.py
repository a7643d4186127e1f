"""Weights outside of their trainers: checkpoints, and files through which they reach engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from learners.planning.job import Job

Items = Mapping[str, float]
"""Name -> bytes."""


def nonzero(items: Items) -> Items:
    """Returns ``items`` without those of no size."""
    return {name: size for name, size in items.items() if size}


def moved(job: Job) -> Items:
    """Returns the host memory of weights in transfer to the engines of a machine.

    Files in shared memory, written once for all engines, and the copy that they are written from. At the
    start, every group of policies has them.

    The base of adapters moves at the start only; adapters themselves are small.
    """
    if not job.layout.engines:
        return {}
    size = float(job.layout.groups * job.shapes.parameters * job.compute)
    files = {} if job.scratch else {"weights for engines": size}
    return {**files, "copy of weights for engines": size}


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
    written = max(sum(moved(replace(job, scratch=False)).values()) / 2 for job in jobs)
    return nonzero({"checkpoints": checkpoints, "weights for engines": written if jobs[0].scratch else 0.0})

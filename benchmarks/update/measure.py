"""Runs one variant in a new process, so that its peak memory is its own. This module does not import
torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.common.child import ChildError, ask
from benchmarks.update.workload import Job


class UpdateError(Exception):
    """A variant could not run or its process died; the message is the last line of its stderr."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one process."""

    seconds: list[float]
    """Of each step except the first."""
    cpu_s: list[float]
    """User and system time of the same steps."""
    foreign: list[float]
    """Share of the machine's CPU time that other processes used during each of these steps."""
    level_bytes: int
    """Memory when libraries and weights are loaded and the trainer is built, before its first step."""
    peak_bytes: int
    """Peak memory, all steps included."""
    product_rate: float
    """FLOP/s of large matrix products in the process, after its steps (``benchmarks.update.roofline``)."""
    loss: float
    """This and the following fields are of the first step, when all variants have the same weights."""
    grad_norm: float
    trained: int
    """Tokens in the mean of the loss."""
    positions: int
    """Positions that the model computed, padding included."""


@dataclass(frozen=True)
class Platform:
    """The hardware and library versions that the variants run on."""

    device: str
    """``cpu`` or ``cuda``."""
    name: str
    """Name of the GPU; empty on CPUs."""
    bfloat16: bool
    """Whether the hardware multiplies in bfloat16; otherwise bfloat16 is emulated and many times slower."""
    versions: dict[str, str | None]
    """Library -> version; None: not installed."""


def measured(job: Job, old: Sequence[Sequence[float]]) -> Measured:
    """Runs the job in a new process. ``old``: log-probabilities of each row's sampled tokens.

    Raises:
        UpdateError: the process failed.
    """
    return Measured(**_child("step", asdict(job), old))


def sampled(job: Job) -> list[list[float]]:
    """Returns log-probabilities of the rows' sampled tokens under the untrained weights, from a new process.

    Raises:
        UpdateError: the process failed.
    """
    logprobs: list[list[float]] = _child("score", asdict(job), [])["logprobs"]
    return logprobs


def platform(threads: int) -> Platform:
    """Describes the hardware and libraries, from a new process."""
    return Platform(**_child("describe", {"threads": threads}, []))


def _child(what: str, job: Mapping[str, Any], old: Sequence[Sequence[float]]) -> dict[str, Any]:
    threads = str(job["threads"])
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "benchmarks.update.child"]
    try:
        fields: dict[str, Any] = ask(command, {"what": what, "job": job, "old": old}, environment)
    except ChildError as error:
        raise UpdateError(str(error)) from None
    return fields

"""Starts one variant in a process of its own, so that its peak memory is nobody else's. No torch here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.update.workload import Job


class UpdateError(Exception):
    """A variant could not run, or its process died: its last words."""


@dataclass(frozen=True)
class Measured:
    """What one process found."""

    seconds: list[float]
    """Of each step but the first."""
    cpu_s: list[float]
    """User and system time of the same steps."""
    foreign: list[float]
    """What other processes took of the machine's CPU time meanwhile, as a share of all there is."""
    level_bytes: int
    """Held when libraries and weights were there and the trainer was built, before its first step."""
    peak_bytes: int
    """The most ever held, all steps included."""
    loss: float
    grad_norm: float
    trained: int
    """Tokens that the loss is a mean of."""
    positions: int
    """What the model was called on, padding included. These last four are of the first step, when all have
    the same weights."""


@dataclass(frozen=True)
class Platform:
    """What the variants compute on."""

    device: str
    """``cpu`` or ``cuda``."""
    name: str
    """The GPU's, else empty."""
    bfloat16: bool
    """Whether it multiplies in bfloat16 itself; else bfloat16 is emulated, and many times slower."""
    versions: dict[str, str | None]
    """Of the libraries; None: not installed."""


def measured(job: Job, old: Sequence[Sequence[float]]) -> Measured:
    """Runs the job in a fresh process. ``old``: log-probabilities of each row's sampled tokens.

    Raises:
        UpdateError: it failed.
    """
    return Measured(**_child("step", asdict(job), old))


def sampled(job: Job) -> list[list[float]]:
    """Log-probabilities of the rows' sampled tokens under the untrained weights, from a process of its own.

    Raises:
        UpdateError: it failed.
    """
    found: list[list[float]] = _child("score", asdict(job), [])["logprobs"]
    return found


def platform(threads: int) -> Platform:
    """What there is, as a process of its own sees it."""
    return Platform(**_child("look", {"threads": threads}, []))


def _child(what: str, job: Mapping[str, Any], old: Sequence[Sequence[float]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.json", Path(folder) / "out.json"
        given.write_text(json.dumps({"what": what, "job": job, "old": old}), encoding="utf-8")
        threads = str(job["threads"])
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.update.child", str(given), str(out)],
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not out.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise UpdateError(said[-1] if said else f"its process ended with {done.returncode}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found

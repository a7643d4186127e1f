"""Measures time and memory of a process that updates a model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Step:
    """What a variant reports about one optimiser step."""

    loss: float
    grad_norm: float
    """Before clipping."""
    trained: int
    """Tokens in the mean of the loss."""
    positions: int
    """Positions that the model computed, padding included."""


@dataclass(frozen=True)
class Lap:
    """Time of one step."""

    seconds: float
    cpu_s: float
    """User and system time of the process."""
    foreign: float
    """Share of the machine's CPU time that other processes used meanwhile."""


class Watch:
    """Measures steps on a device."""

    def __init__(self, device: torch.device) -> None:
        self.laps: list[Lap] = []
        self._device = device
        self._start = (0.0, 0.0, 0.0)

    @contextmanager
    def step(self) -> Iterator[None]:
        self.begin()
        yield
        self.end()

    def begin(self) -> None:
        self._start = self._now()

    def end(self) -> None:
        seconds, own, busy = (b - a for a, b in zip(self._start, self._now(), strict=True))
        cores = os.cpu_count() or 1
        self.laps.append(Lap(seconds, own, max(0.0, busy - own) / (cores * seconds)))

    def _now(self) -> tuple[float, float, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.process_time(), busy_s()


def busy_s() -> float:
    """Returns CPU seconds that all processes have used since the machine started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system = (int(field) for field in fields[:3])
    return (user + nice + system) / float(os.sysconf("SC_CLK_TCK"))


def held_bytes(device: torch.device) -> int:
    """Returns the current resident memory of the process, or tensor memory of the GPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return _status("VmRSS")


def peak_bytes(device: torch.device) -> int:
    """Returns the peak resident memory of the process, or peak tensor memory of the GPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _status("VmHWM")


def reset_peak(device: torch.device) -> bool:
    """Starts a new peak. Returns False where the system cannot: the peak is then of the process's life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak becomes the current level
    except OSError:
        return False
    return True


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")

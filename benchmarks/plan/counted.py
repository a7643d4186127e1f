"""Memory of an update as torch counts it: every block that its allocator hands out, by phase.

The profiler records each allocation and release with the number of bytes. Resident memory has in addition
what libraries allocate by themselves, and whatever the allocator keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

BODY = "benchmarks.plan: body"
"""Marks the forward pass below the output head."""
STARTS = {BODY: "forward", "_Head": "head", "_Bfloat16Head": "head"}
"""Event -> the phase that starts with it."""
ENDS = {"_HeadBackward": "backward", "_Bfloat16HeadBackward": "backward"}
"""Event -> the phase that starts at its end."""
STEP = "Optimizer.step#"


@dataclass(frozen=True)
class Counted:
    """Bytes in addition to what there was before the update."""

    peaks: Mapping[str, float]
    """Phase -> peak; the names are those of ``learners.planning.memory.trainer_phases``."""
    gradients: float
    """All of them, before the optimiser's step."""
    kept: float
    """What the forward pass below the head keeps for the backward pass."""
    head: float
    """Peak of the head, forward and backward, above what is kept."""


def count(update: Callable[[], object], body: torch.nn.Module) -> Counted:
    """Runs ``update`` and counts what it allocates on the device of ``body``, the model without its head.

    Raises:
        ValueError: it has trained nothing.
    """
    device = next(body.parameters()).device
    marks: list[Any] = []

    def start(*_: object) -> None:
        marks.append(record_function(BODY))
        marks[-1].__enter__()

    def end(*_: object) -> None:
        marks.pop().__exit__(None, None, None)

    hooks = [body.register_forward_pre_hook(start), body.register_forward_hook(end)]
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    try:
        with profile(activities=activities, profile_memory=True) as profiled:
            update()
    finally:
        for hook in hooks:
            hook.remove()
    return _read(profiled, device)


def _read(profiled: profile, device: torch.device) -> Counted:
    """Follows the level of allocated memory through the phases of the update."""
    peaks: dict[str, float] = {}
    starts: dict[str, list[float]] = {}
    highest: dict[str, list[float]] = {}
    phase, level = "", 0.0
    for _, entered, size in sorted(_events(profiled, device), key=lambda event: event[0]):
        level += size
        if entered:
            phase = entered
            starts.setdefault(phase, []).append(level)
            highest.setdefault(phase, []).append(level)
        if phase:
            highest[phase][-1] = max(highest[phase][-1], level)
            peaks[phase] = max(peaks.get(phase, level), level)
    if not {"forward", "head", "backward", "optimiser"} <= set(peaks):
        raise ValueError(f"the update has no complete step, only: {', '.join(peaks) or 'nothing'}")
    kept = [b - a for a, b in zip(starts["forward"], starts["head"], strict=True)]
    return Counted(
        peaks,
        gradients=max(starts["optimiser"]),
        kept=max(kept),
        head=max(high - start for start, high in zip(starts["head"], highest["head"], strict=True)),
    )


def _events(profiled: profile, device: torch.device) -> list[tuple[int, str, float]]:
    """Returns (time, phase that starts or empty, bytes allocated) of each event that matters."""
    found: list[tuple[int, str, float]] = []
    assert profiled.profiler is not None
    assert profiled.profiler.kineto_results is not None
    events: list[Any] = profiled.profiler.kineto_results.events()
    for event in events:
        name, start = event.name(), event.start_ns()
        if name == "[memory]":
            if event.device_type().name == device.type.upper():
                found.append((start, "", float(event.nbytes())))
        elif name in STARTS:
            found.append((start, STARTS[name], 0.0))
        elif name in ENDS:
            found.append((start + event.duration_ns(), ENDS[name], 0.0))
        elif name.startswith(STEP):
            found.append((start, "optimiser", 0.0))
    return found

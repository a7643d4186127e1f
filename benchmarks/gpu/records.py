"""What is recorded of a run on a GPU. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.common.machine import Machine

OK, SKIPPED, MEMORY, FAILED = "ok", "skipped", "out of memory", "failed"
"""The status of a case; a part has all but ``MEMORY``."""

Figures = Mapping[str, float | str | None]
"""Name, with its unit -> value; None: unknown here."""


@dataclass(frozen=True)
class Case:
    """One measurement of a part."""

    name: str
    status: str
    reason: str
    """One line: why it was skipped or failed; empty otherwise."""
    figures: Figures
    seconds: float


@dataclass(frozen=True)
class Part:
    """One part of the script; its cases are those that were finished."""

    name: str
    status: str
    reason: str
    seconds: float
    cases: Sequence[Case]

    @classmethod
    def of(cls, name: str, cases: Sequence[Case], seconds: float, died: str = "") -> Part:
        """Summarises ``cases``; ``died``: why their process ended early, if it did."""
        failed = [case for case in cases if case.status == FAILED]
        measured = [case for case in cases if case.status in (OK, MEMORY)]
        if died or failed:
            return cls(name, FAILED, died or f"{failed[0].name}: {failed[0].reason}", seconds, cases)
        if measured:
            return cls(name, OK, "", seconds, cases)
        return cls(name, SKIPPED, cases[0].reason if cases else "nothing was measured", seconds, cases)


@dataclass(frozen=True)
class Settings:
    """What the process of a part is told."""

    part: str
    toy: bool
    """Tiny models and few steps, on any device."""
    seconds: float
    """Until its process is ended."""
    folder: str
    """For its files."""
    weights: str | None
    """GGUF file of SmolLM2."""
    rates: Mapping[str, float]
    """``bfloat16`` and ``float32`` -> measured FLOP/s of matrix products on this machine."""


@dataclass(frozen=True)
class Report:
    """A run of the script, whole or stopped."""

    machine: Machine
    commit: str
    """Empty outside of a git checkout."""
    toy: bool
    seconds: float
    parts: Sequence[Part]

"""Targets: numbers that a benchmark should reach, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A bound on a measured value: ``Target("docker / fork server", 1.8, 1.5)``."""

    name: str
    value: float | None
    """None: not measured."""
    bound: float
    at_least: bool = False
    """The value must be at least ``bound``; otherwise at most."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def line(self) -> str:
        """``MISSED by 20 %: docker / fork server <= 1.5: 1.8``"""
        goal = f"{self.name} {'>=' if self.at_least else '<='} {self.bound:g}"
        if self.value is None:
            return f"UNKNOWN {goal}: not measured"
        distance = f"{100 * abs(self.value / self.bound - 1):.0f} %"
        outcome = f"PASS with {distance} to spare" if self.met else f"MISSED by {distance}"
        return f"{outcome}: {goal}: {self.value:.4g}"


def to_records(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Returns the targets as JSON objects, each with its ``met``."""
    return [asdict(target) | {"met": target.met} for target in targets]

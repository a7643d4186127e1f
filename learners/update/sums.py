"""Sums of metrics whose values stay on the device until they are read: reading one waits for the device."""

from __future__ import annotations

from collections import Counter

import torch

from learners.types import LossMetrics, Metrics


class Sums:
    """The sum of each metric over the micro-batches of an optimiser step, by name.

    Args:
        device: where most of the values are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._numbers: list[tuple[str, float]] = []
        self._names: list[str] = []
        self._values: list[torch.Tensor] = []

    def add(self, metrics: LossMetrics) -> None:
        """Adds one micro-batch's metrics: numbers, or tensors with one number, of any dtype and device."""
        for name, value in metrics.items():
            if isinstance(value, torch.Tensor):
                self._names.append(name)
                self._values.append(value.detach().reshape(1).to(self._device, non_blocking=True))
            else:
                self._numbers.append((name, float(value)))

    def read(self) -> Metrics:
        """Returns the sums, by one transfer of all values."""
        sums: Counter[str] = Counter()
        read = torch.cat(self._values).tolist() if self._values else []
        for name, value in [*zip(self._names, read, strict=True), *self._numbers]:
            sums[name] += value
        return dict(sums)

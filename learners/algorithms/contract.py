"""What an algorithm returns, examined where the trainer meets it (``learners.base.Algorithm``).

Every mistake is one line that names the algorithm's class, the method, what it returned and what is wanted.
NaN and infinite losses are not examined here: they end the run as ``NonFiniteError``, with the weights
intact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch

from conf import ConfigError
from learners.base import Algorithm
from learners.types import Batch, LossMetrics, Transition


def advantages(algorithm: Algorithm, transitions: Sequence[Transition]) -> list[list[float] | None]:
    """Returns ``algorithm.advantages(transitions)``, with None for the rows of agents that do not learn.

    Raises:
        ConfigError: it has not one entry for each transition, None or a finite number for each of its tokens.
    """
    where, found = f"{type(algorithm).__qualname__}.advantages", algorithm.advantages(transitions)
    _check_length(where, found, len(transitions), "transitions")
    found = [row if transition.learns else None for row, transition in zip(found, transitions, strict=True)]
    for place, (row, transition) in enumerate(zip(found, transitions, strict=True)):
        if row is not None:
            _check_length(f"{where}: row {place}", row, len(transition.completion.token_ids), "tokens")
            _check_numbers(f"{where}: row {place}", row)
    return found


def token_weights(algorithm: Algorithm, transitions: Sequence[Transition]) -> list[float]:
    """Returns ``algorithm.token_weights(transitions)``; raises ``ConfigError`` unless it has one finite
    number for each transition."""
    where, found = f"{type(algorithm).__qualname__}.token_weights", algorithm.token_weights(transitions)
    _check_length(where, found, len(transitions), "transitions")
    _check_numbers(where, found)
    return found


def loss(algorithm: Algorithm, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, LossMetrics]:
    """Returns ``algorithm.loss(logprobs, batch)``; raises ``ConfigError`` unless it is a scalar tensor that
    depends on ``logprobs``, and metrics by name."""
    where, found = f"{type(algorithm).__qualname__}.loss", algorithm.loss(logprobs, batch)
    if not isinstance(found, tuple) or len(found) != 2:
        raise ConfigError(f"{where}: must return a loss and metrics; got {_shown(found)}")
    value, metrics = found
    if not isinstance(value, torch.Tensor) or value.dim() != 0 or not value.is_floating_point():
        raise ConfigError(
            f"{where}: the loss must be a tensor with one number and no dimensions; got {_shown(value)}"
        )
    if logprobs.requires_grad and not value.requires_grad:
        raise ConfigError(f"{where}: the loss does not depend on logprobs, so there is no gradient")
    if not isinstance(metrics, Mapping):
        raise ConfigError(f"{where}: metrics must map names to numbers; got {_shown(metrics)}")
    for name, number in metrics.items():
        single = isinstance(number, torch.Tensor) and number.numel() == 1
        if not isinstance(name, str) or not (single or isinstance(number, Real)):
            raise ConfigError(f"{where}: metric {name!r} must be one number; got {_shown(number)}")
    return value, metrics


def _check_length(where: str, found: Any, wanted: int, of: str) -> None:
    if not isinstance(found, list | tuple):
        raise ConfigError(
            f"{where}: must be a list, one entry for each of the {wanted} {of}; got {_shown(found)}"
        )
    if len(found) != wanted:
        raise ConfigError(f"{where}: has {len(found)} entries for {wanted} {of}")


def _check_numbers(where: str, numbers: Sequence[float]) -> None:
    for place, number in enumerate(numbers):
        if not isinstance(number, Real) or isinstance(number, bool) or not math.isfinite(number):
            raise ConfigError(f"{where}: entry {place} must be a finite number; got {_shown(number)}")


def _shown(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r:.60}"

"""Ratios, importance weights, clipping, KL terms and aggregation, shared by policy-gradient algorithms. Pure.

Three policies meet in a loss: the one that sampled (``Batch.old_logprobs``, as the inference engine computed
them), the trainer's own before the update, called proximal (``Batch.prox_logprobs``), and the new one. PPO's
trust region belongs between the last two, and what lies between the first two is corrected by importance
weights (decoupled PPO, arXiv 2110.00641). Without either, a clipped ratio to what an engine reported takes
rounding and staleness for a change of the policy.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.algorithms.settings import Settings
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

LIMIT = 20.0
"""Log ratios are held within it: beyond e^20 every clip is reached, but an exp that overflows makes NaN
gradients."""


@dataclass(frozen=True)
class Ratios:
    """What a loss is made of; all [N]."""

    log: torch.Tensor
    """log(pi_new / pi_proximal), with gradient, held within ``LIMIT``."""
    ratio: torch.Tensor
    """Its exp; exactly 1 on an update of a single optimiser step."""
    importance: torch.Tensor
    """The weight of pi_proximal / pi_sampling after ``is_correction``; no gradient."""
    metrics: dict[str, torch.Tensor]
    """Sums of ``weight * value``: ``is_limited``, the share of tokens whose importance weight was capped or
    set to 0; ``approx_kl``, KL(pi_proximal || pi_new) by the k3 estimate, which is never negative;
    ``reference_kl``, KL(pi_new || pi_ref) by k1, where a reference is known."""


def compare(logprobs: torch.Tensor, batch: Batch, settings: Settings) -> Ratios:
    """Ratios of a (micro-)batch from new logprobs [N]."""
    weights = batch.weights
    log_ratio = (logprobs - proximal(logprobs, batch)).clamp(-LIMIT, LIMIT)
    weight, limited = importance(_log_weight(logprobs, batch), batch.row, settings)
    ratio = log_ratio.exp()
    metrics = {
        "is_limited": (weights * limited).sum(),
        "approx_kl": (weights * (ratio - 1.0 - log_ratio)).sum(),
    }
    if batch.ref_logprobs is not None:
        metrics["reference_kl"] = (weights * (logprobs - batch.ref_logprobs)).sum()
    return Ratios(log_ratio, ratio, weight, metrics)


def proximal(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The trainer's own logprobs before the update [N], no gradient; ``logprobs`` are the new ones."""
    return logprobs.detach() if batch.prox_logprobs is None else batch.prox_logprobs


def mismatch(logprobs: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    """How far the sampling policy was from the trainer's before the update, as sums of ``weight * value``.

    Both estimate KL(pi_sampling || pi_proximal): ``mismatch_kl`` by k3, which is never negative, and
    ``mismatch_k1`` by log pi_sampling - log pi_proximal, whose sign tells the direction.
    """
    log_weight = _log_weight(logprobs, batch)
    return {
        "mismatch_kl": (batch.weights * (log_weight.exp() - 1.0 - log_weight)).sum(),
        "mismatch_k1": -(batch.weights * log_weight).sum(),
    }


def importance(
    log_weight: torch.Tensor, row: torch.Tensor, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Importance weights [N] of log(pi_proximal / pi_sampling) [N], and which of them were limited.

    ``token`` is truncated importance sampling, min(w, cap). ``sequence`` multiplies over a row, so that its
    tokens' states are corrected too, at far more variance. ``icepop`` (arXiv 2510.18855) leaves out what lies
    outside of [low, high] and does not cap the rest; as there, tokens left out stay in the denominators, and
    the published range is [0.5, 5]. ``off`` is 1: the ratio is to the proximal policy all the same, so
    mismatch and staleness then go uncorrected.
    """
    if settings.is_correction == "sequence":
        log_weight = row_sums(log_weight, row).clamp(-LIMIT, LIMIT)
    weight = log_weight.exp()
    if settings.is_correction == "icepop":
        outside = (weight < settings.icepop_low) | (weight > settings.icepop_high)
        return weight.masked_fill(outside, 0.0), outside
    if settings.is_correction == "off":
        return weight.new_ones(weight.shape), weight.new_zeros(weight.shape)
    return weight.clamp(max=settings.is_cap), weight > settings.is_cap


def clipped(
    ratio: torch.Tensor, advantages: torch.Tensor, low: float, high: float, dual: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's objective (arXiv 1707.06347), and where a clip removes its gradient; all [N].

    A ratio pays only within [1 - low, 1 + high]; ``dual`` (arXiv 1912.09729) bounds what a bad action may
    cost at that multiple of its advantage.
    """
    free = ratio * advantages
    objective = free.minimum(ratio.clamp(1.0 - low, 1.0 + high) * advantages)
    if dual is not None:
        objective = objective.maximum(dual * advantages).where(advantages < 0, objective)
    return objective, objective != free


def k2(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """0.5 (log pi_new - log pi_ref)^2 [N]: its gradient is that of the KL divergence (arXiv 2510.01555).

    Raises:
        ValueError: the batch has no ``ref_logprobs``.
    """
    return 0.5 * (logprobs - _reference(batch)) ** 2


def k3(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """pi_ref / pi_new - log(pi_ref / pi_new) - 1 [N]: never negative, and 0 where both agree.

    Raises:
        ValueError: the batch has no ``ref_logprobs``.
    """
    log_ratio = (_reference(batch) - logprobs).clamp(-LIMIT, LIMIT)
    return log_ratio.exp() - log_ratio - 1.0


def row_sums(values: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """[N]: for each token the sum of ``values`` over its row; a row is never split among micro-batches."""
    rows = values.new_zeros(int(row.max()) + 1)
    return rows.index_add(0, row, values)[row]


def row_means(values: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """[N]: for each token the mean of ``values`` over its row."""
    return row_sums(values, row) / row_sums(values.new_ones(values.shape), row)


def aggregation(transitions: Sequence[Transition], how: str) -> list[float]:
    """Each row's weight per token; over all rows and tokens they add up to 1.

    ``token``: the mean over all tokens; ``sequence``: over sequences of their token means; ``prompt``: over
    prompts, each an (agent, task, turn), of their token means.
    """
    lengths = [len(transition.completion.token_ids) for transition in transitions]
    if how == "token":
        return [1.0 / sum(lengths)] * len(lengths)
    if how == "sequence":
        return [1.0 / (len(lengths) * length) for length in lengths]
    prompts: list[Hashable] = [(t.turn.agent, t.turn.task_id, t.turn.attempt) for t in transitions]
    tokens = dict.fromkeys(prompts, 0)
    for prompt, length in zip(prompts, lengths, strict=True):
        tokens[prompt] += length
    return [1.0 / (len(tokens) * tokens[prompt]) for prompt in prompts]


def floats(metrics: dict[str, torch.Tensor]) -> Metrics:
    """Metrics as numbers."""
    return {name: float(value.detach()) for name, value in metrics.items()}


def _log_weight(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    return (proximal(logprobs, batch) - batch.old_logprobs).clamp(-LIMIT, LIMIT)


def _reference(batch: Batch) -> torch.Tensor:
    if batch.ref_logprobs is None:
        raise ValueError("a KL term in the loss needs ref_logprobs in every transition")
    return batch.ref_logprobs

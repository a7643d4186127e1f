"""Ratios, importance weights, clipping, KL terms and aggregation, shared by policy-gradient algorithms. Pure
functions.

Three policies take part in a loss: the one that sampled (``Batch.sampling_logprobs``, as the inference engine
computed them), the trainer's own before the update, called proximal (``Batch.prox_logprobs``), and the new
one. PPO's trust region is between the last two; the difference between the first two is corrected by
importance weights (decoupled PPO, arXiv 2110.00641). A clipped ratio to what an engine reported, without
either, mistakes numerical mismatch and staleness for a policy change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.algorithms.groups import group_key
from learners.algorithms.settings import Settings
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

MAX_LOG_RATIO = 20.0
"""Log ratios are clamped to plus or minus this. Every clip is reached long before e^20, but an exp that
overflows makes NaN gradients."""


@dataclass(frozen=True)
class Ratios:
    """How the three policies of a loss differ; all [N]."""

    log: torch.Tensor
    """log(pi_new / pi_proximal), with gradient, clamped to ``MAX_LOG_RATIO``."""
    ratio: torch.Tensor
    """Its exp; exactly 1 in an update of a single optimiser step."""
    importance: torch.Tensor
    """The weight for pi_proximal / pi_sampling after ``importance_weighting``; no gradient."""
    limited: torch.Tensor
    """Whether the importance weight was capped or set to 0; bool."""
    metrics: dict[str, torch.Tensor]
    """Sums of ``weight * value``: ``importance_limited``, the share of tokens whose importance weight was
    capped or set to 0; ``approx_kl``, KL(pi_proximal || pi_new) by the k3 estimate, which is never negative;
    ``reference_kl``, KL(pi_new || pi_ref) by k1, if a reference is known."""


@dataclass(frozen=True)
class Objective:
    """What a loss maximises for each token, before importance weights and aggregation; all [N]."""

    values: torch.Tensor
    shares: dict[str, torch.Tensor]
    """Name of a metric -> the tokens whose share it is; bool."""
    ratio: torch.Tensor | None = None
    """The ratio in it, if that is not each token's own (``Ratios.ratio``)."""


@dataclass(frozen=True)
class Terms:
    """What a loss makes of each token; all [N], without gradient."""

    ratio: torch.Tensor
    importance: torch.Tensor
    marks: dict[str, torch.Tensor]
    """Name of a metric -> the tokens whose share it is; bool."""


def compare(logprobs: torch.Tensor, batch: Batch, settings: Settings) -> Ratios:
    """Computes the ratios of a (micro-)batch from new logprobs [N]."""
    weights = batch.token_weights
    log_ratio = (logprobs - proximal(logprobs, batch)).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    weight, limited = importance(_log_importance(logprobs, batch), batch.row, settings)
    ratio = log_ratio.exp()
    metrics = {
        "importance_limited": (weights * limited).sum(),
        "approx_kl": (weights * (ratio - 1.0 - log_ratio)).sum(),
    }
    if batch.ref_logprobs is not None:
        metrics["reference_kl"] = (weights * (logprobs - batch.ref_logprobs)).sum()
    return Ratios(log_ratio, ratio, weight, limited, metrics)


def proximal(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The trainer's own logprobs before the update [N], without gradient; ``logprobs`` are the new ones."""
    return logprobs.detach() if batch.prox_logprobs is None else batch.prox_logprobs


def mismatch(logprobs: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    """How far the sampling policy was from the trainer's before the update, as sums of ``weight * value``.

    Both metrics estimate KL(pi_sampling || pi_proximal): ``mismatch_kl`` by k3, which is never negative, and
    ``mismatch_k1`` by log pi_sampling - log pi_proximal, whose sign shows the direction.
    """
    log_weight = _log_importance(logprobs, batch)
    return {
        "mismatch_kl": (batch.token_weights * (log_weight.exp() - 1.0 - log_weight)).sum(),
        "mismatch_k1": -(batch.token_weights * log_weight).sum(),
    }


def importance(
    log_weight: torch.Tensor, row: torch.Tensor, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Importance weights [N] from log(pi_proximal / pi_sampling) [N], and which of them were limited (bool
    [N]).

    ``token`` is truncated importance sampling, min(w, cap). ``sequence`` multiplies over a row, which also
    corrects for the states its tokens are in, at much higher variance. ``icepop`` (arXiv 2510.18855) sets
    weights outside [low, high] to 0 and does not cap the others; as in the paper, these tokens still count in
    the denominators, and the published range is [0.5, 5]. ``off`` is 1: ratios are still relative to the
    proximal policy, so mismatch and staleness are not corrected.
    """
    if settings.importance_weighting == "sequence":
        log_weight = row_sums(log_weight, row).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    weight = log_weight.exp()
    if settings.importance_weighting == "icepop":
        outside = (weight < settings.icepop_low) | (weight > settings.icepop_high)
        return weight.masked_fill(outside, 0.0), outside
    if settings.importance_weighting == "off":
        return weight.new_ones(weight.shape), weight.new_zeros(weight.shape).bool()
    return weight.clamp(max=settings.importance_cap), weight > settings.importance_cap


def clipped(
    ratio: torch.Tensor, advantages: torch.Tensor, low: float, high: float, dual: float | None = None
) -> Objective:
    """PPO's clipped objective (arXiv 1707.06347) from ratios and advantages [N].

    The ratio is clipped to [1 - low, 1 + high]. ``dual`` limits the loss of an action with negative advantage
    to this multiple of it (arXiv 1912.09729). ``clip_fraction`` is the share of tokens whose gradient a clip
    removes.
    """
    unclipped = ratio * advantages
    objective = unclipped.minimum(ratio.clamp(1.0 - low, 1.0 + high) * advantages)
    if dual is not None:
        objective = objective.maximum(dual * advantages).where(advantages < 0, objective)
    return Objective(objective, {"clip_fraction": objective != unclipped})


def k2_loss(logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> torch.Tensor:
    """The sum of ``weight * importance * ratio * k2``, whose gradient is that of KL(pi_new || pi_ref).

    Without importance weight and ratio the gradient is right on-policy only (arXiv 2510.01555). On-policy,
    the ratio is 1.

    Raises:
        ValueError: the batch has no ``ref_logprobs``.
    """
    return (batch.token_weights * ratios.importance * ratios.ratio.detach() * k2(logprobs, batch)).sum()


def k2(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """0.5 (log pi_new - log pi_ref)^2 [N]: its gradient is that of the KL divergence (arXiv 2510.01555).

    Raises:
        ValueError: the batch has no ``ref_logprobs``.
    """
    return 0.5 * (logprobs - _reference(batch)) ** 2


def k3(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """pi_ref / pi_new - log(pi_ref / pi_new) - 1 [N]: never negative, and 0 where the two agree.

    Raises:
        ValueError: the batch has no ``ref_logprobs``.
    """
    log_ratio = (_reference(batch) - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio.exp() - log_ratio - 1.0


def row_sums(values: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """[N]: for each token the sum of ``values`` over its row, whose tokens are one after the other; a row is
    never split among micro-batches."""
    # Rows are numbered anew, from 0: to ask for the largest of their own numbers would wait for the device.
    number = (row != row.roll(1)).cumsum(0)
    number = number - number[0]
    return values.new_zeros(values.shape).index_add(0, number, values)[number]


def row_means(values: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """[N]: for each token the mean of ``values`` over its row."""
    return row_sums(values, row) / row_sums(values.new_ones(values.shape), row)


def aggregation(transitions: Sequence[Transition], how: str) -> list[float]:
    """Each row's weight per token; summed over all rows and tokens, the weights are 1.

    ``token``: the mean over all tokens. ``sequence``: the mean over sequences of their token means. ``turn``:
    the mean over groups of the same agent, task and turn of their token means.
    """
    lengths = [len(transition.completion.token_ids) for transition in transitions]
    if how == "token":
        return [1.0 / sum(lengths)] * len(lengths)
    if how == "sequence":
        return [1.0 / (len(lengths) * length) for length in lengths]
    keys = [group_key(transition, "turn") for transition in transitions]
    tokens = dict.fromkeys(keys, 0)
    for key, length in zip(keys, lengths, strict=True):
        tokens[key] += length
    return [1.0 / (len(tokens) * tokens[key]) for key in keys]


def _log_importance(logprobs: torch.Tensor, batch: Batch) -> torch.Tensor:
    return (proximal(logprobs, batch) - batch.sampling_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def _reference(batch: Batch) -> torch.Tensor:
    if batch.ref_logprobs is None:
        raise ValueError("a KL term in the loss needs ref_logprobs in every transition")
    return batch.ref_logprobs

"""Log-probabilities of given tokens under a causal LM, without ever holding all logits of a long batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from learners.models.base import ModelConfig
from learners.samples import Row, pack
from learners.types import Batch, Completion

CHUNK = 1024
"""Tokens whose logits exist at once: 1024 x 151 936 float32 are 0.6 GB."""


def token_logprobs(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, *, chunk: int = CHUNK
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target, and entropy, from hidden states and output head.

    Logits exist for ``chunk`` tokens at a time and are computed again in the backward pass.

    Args:
        hidden: [N, H]; its dtype is the one that logits are computed in.
        weight: [V, H], the head's.
        target: int64 [N].
        chunk: see above.

    Returns:
        [N] log-probabilities (with gradient) and [N] entropies (without), natural log, float32 (float64 for
        float64 input).
    """
    logprobs, entropy = _Head.apply(hidden, weight, target, chunk)  # type: ignore[no-untyped-call]
    return logprobs, entropy


class _Head(torch.autograd.Function):
    """d logprob / d logits = onehot(target) - softmax(logits), by chunk."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, chunk: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        logprobs = torch.empty(len(hidden), dtype=exact, device=hidden.device)
        normalisers, entropy = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for part in _chunks(len(hidden), chunk):
            logits = compute_logits(hidden[part], weight)
            normalisers[part] = logits.logsumexp(-1)
            logprobs[part] = logits.gather(-1, target[part, None])[:, 0] - normalisers[part]
            probs = (logits - normalisers[part, None]).exp_()
            entropy[part] = normalisers[part] - probs.mul_(logits).sum(-1)
        ctx.save_for_backward(hidden, weight, target, normalisers)
        ctx.chunk = chunk
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None, None]:
        hidden, weight, target, normalisers = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for part in _chunks(len(hidden), ctx.chunk):
            logits = compute_logits(hidden[part], weight)
            grad = (logits - normalisers[part, None]).exp_().neg_()
            grad[torch.arange(len(grad), device=grad.device), target[part]] += 1
            grad *= grads[0][part, None]
            grad = grad.to(hidden.dtype)
            grad_hidden[part] = grad @ weight.to(hidden.dtype)
            if grad_weight is not None:
                grad_weight += (grad.T @ hidden[part]).to(weight.dtype)
        return grad_hidden, grad_weight, None, None


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def compute_logits(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """[n, V] logits in at least float32, multiplied in the dtype of ``hidden`` [n, H], autocast or not."""
    with torch.autocast(hidden.device.type, enabled=False):
        logits = hidden @ weight.to(hidden.dtype).T
    return logits.to(torch.promote_types(hidden.dtype, torch.float32))


def head_dtype(model: PreTrainedModel, config: ModelConfig) -> torch.dtype:
    """What logits are multiplied in, for generation and updates alike."""
    if config.head_float32:
        return torch.float32
    return torch.bfloat16 if config.autocast else model.dtype


def attention_mask(segment: torch.Tensor) -> torch.Tensor:
    """bool [B, 1, T, T]: causal within each row of a bin. Padding (segment 0) sees padding: never nothing."""
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    return ((segment[:, :, None] == segment[:, None, :]) & causal)[:, None]


def batch_logprobs(
    model: PreTrainedModel, batch: Batch, config: ModelConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """[N] log-probabilities and [N] entropies of a packed batch's trained tokens; ``batch`` on any device."""
    device = model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
        hidden = model.base_model(
            input_ids=batch.ids.to(device),
            attention_mask=attention_mask(batch.segment.to(device)),
            position_ids=batch.position.to(device),
            use_cache=False,
        ).last_hidden_state
    chosen = hidden.flatten(0, 1)[batch.source.to(device)].to(head_dtype(model, config))
    head = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
    return token_logprobs(chosen, head, batch.target.to(device))


def completion_logprobs(
    model: PreTrainedModel, completions: Sequence[Completion], config: ModelConfig
) -> list[tuple[float, ...]]:
    """Log-probability of every sampled token, one tuple a completion, computed packed."""
    return score_completions(
        lambda batch: batch_logprobs(model, batch, config), completions, config.update_tokens
    )


@torch.no_grad()
def score_completions(
    score: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]],
    completions: Sequence[Completion],
    update_tokens: int,
) -> list[tuple[float, ...]]:
    """``completion_logprobs`` with whatever ``score`` says of a packed batch of ``update_tokens``."""
    found: list[list[float]] = [[] for _ in completions]
    sampled = [i for i, completion in enumerate(completions) if completion.token_ids]
    rows = [Row(completions[i], [0.0] * len(completions[i].token_ids), 0.0) for i in sampled]
    for batch in pack(rows, update_tokens):
        logprobs, _ = score(batch)
        values: dict[int, list[float]] = {}
        for number, value in zip(batch.row.tolist(), logprobs.tolist(), strict=True):
            values.setdefault(number, []).append(value)
        for number, row in values.items():
            found[sampled[number]] = row
    return [tuple(row) for row in found]

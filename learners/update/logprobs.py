"""Log-probabilities of given tokens under a causal LM, without materialising all logits of a long batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from learners.models import attention
from learners.models.attention import Borders
from learners.types import Batch, Completion, ModelConfig
from learners.update.packing import Floats, Row, pack

CHUNK = 512
"""Tokens whose logits exist at once, in at most two buffers: 512 x 151 936 float32 are 0.3 GB."""


def token_logprobs(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, *, chunk: int = CHUNK
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the log-probability of each target, and entropies, from hidden states and output head.

    Logits exist for ``chunk`` tokens at a time and are recomputed in the backward pass.

    Args:
        hidden: [N, H]; logits are computed in its dtype.
        weight: [V, H], of the head.
        target: int64 [N].
        chunk: tokens.

    Returns:
        [N] log-probabilities (with gradient) and [N] entropies (without), natural log, float32 (float64 for
        float64 input).
    """
    logprobs, entropy = _Head.apply(hidden, weight, target, chunk)  # type: ignore[no-untyped-call]
    return logprobs, entropy


class _Head(torch.autograd.Function):
    """d logprob / d logits = onehot(target) - softmax(logits), by chunk.

    All chunks share two buffers: allocating memory for each would cost more than the arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, chunk: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cast = weight.to(hidden.dtype)
        logits, probs = (_buffer(hidden, weight, chunk) for _ in range(2))
        logprobs = torch.empty(len(hidden), dtype=logits.dtype, device=hidden.device)
        normalisers, entropy = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for part in _chunks(len(hidden), chunk):
            table = compute_logits(hidden[part], cast, out=logits)
            largest = table.amax(-1, keepdim=True)
            shifted = table.sub_(largest)
            weights = torch.exp(shifted, out=probs[: len(shifted)])
            total = weights.sum(-1)
            logprobs[part] = shifted.gather(-1, target[part, None])[:, 0] - total.log()
            normalisers[part] = largest[:, 0] + total.log()
            entropy[part] = total.log() - weights.mul_(shifted).sum(-1) / total
        ctx.save_for_backward(hidden, weight, target, normalisers)
        ctx.chunk = chunk
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None, None]:
        hidden, weight, target, normalisers = ctx.saved_tensors
        cast, logits = weight.to(hidden.dtype), _buffer(hidden, weight, ctx.chunk)
        grad_hidden = torch.empty_like(hidden)
        # At least float32: rounding the sum to bfloat16 after every chunk would bias it.
        grad_weight = torch.zeros_like(weight, dtype=logits.dtype) if ctx.needs_input_grad[1] else None
        for part in _chunks(len(hidden), ctx.chunk):
            table = compute_logits(hidden[part], cast, out=logits)
            grad = table.sub_(normalisers[part, None]).exp_().mul_(-grads[0][part, None])
            grad[torch.arange(len(grad), device=grad.device), target[part]] += grads[0][part]
            grad = grad.to(hidden.dtype)
            torch.mm(grad, cast, out=grad_hidden[part])
            if grad_weight is not None:
                _add_product(grad_weight, grad.T, hidden[part])
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None


def _buffer(hidden: torch.Tensor, weight: torch.Tensor, chunk: int) -> torch.Tensor:
    """A buffer for the logits of a chunk, in at least float32."""
    exact = torch.promote_types(hidden.dtype, torch.float32)
    return torch.empty(min(chunk, len(hidden)), len(weight), dtype=exact, device=hidden.device)


def _add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """total += a @ b, where ``total`` may have a higher precision than the factors."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def compute_logits(
    hidden: torch.Tensor, weight: torch.Tensor, *, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns [n, V] logits in at least float32, multiplied in the dtype of ``hidden`` [n, H].

    Autocast does not apply. They are written to the first n rows of ``out``, if given.
    """
    exact = torch.promote_types(hidden.dtype, torch.float32)
    with torch.autocast(hidden.device.type, enabled=False):
        if out is None:
            return (hidden @ weight.to(hidden.dtype).T).to(exact)
        logits = out[: len(hidden)]
        if hidden.dtype == exact:
            return torch.mm(hidden, weight.to(exact).T, out=logits)
        return logits.copy_(hidden @ weight.to(hidden.dtype).T)


def head_dtype(model: PreTrainedModel, config: ModelConfig) -> torch.dtype:
    """Returns the dtype that logits are multiplied in, for generation and updates alike."""
    if config.head_float32:
        return torch.float32
    return torch.bfloat16 if config.autocast else model.dtype


def batch_logprobs(
    model: PreTrainedModel, batch: Batch, config: ModelConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns [N] log-probabilities and [N] entropies of the trained tokens of a batch, on any device.

    The model is one that ``learners.models.base.prepare_model`` prepared.
    """
    device = model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
        hidden = model.base_model(
            input_ids=batch.ids[None].to(device),
            position_ids=batch.position[None].to(device),
            use_cache=False,
            **attention.arguments(Borders.of(batch.lengths, device)),
        ).last_hidden_state
    chosen = hidden[0, batch.source.to(device)].to(head_dtype(model, config))
    head = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
    return token_logprobs(chosen, head, batch.target.to(device))


def completion_logprobs(
    model: PreTrainedModel, completions: Sequence[Completion], config: ModelConfig
) -> list[tuple[float, ...]]:
    """Returns the log-probability of every sampled token, one tuple per completion."""
    return score_completions(
        lambda batch: batch_logprobs(model, batch, config), completions, config.update_tokens
    )


def score_completions(
    score: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]],
    completions: Sequence[Completion],
    update_tokens: int,
) -> list[tuple[float, ...]]:
    """``completion_logprobs`` with ``score`` in place of a model; it returns what ``batch_logprobs`` does."""
    rows = [Row.of(completion, [0.0] * len(completion.token_ids), 0.0) for completion in completions]
    return [tuple(values.tolist()) for values in score_rows(score, rows, update_tokens)]


@torch.no_grad()
def score_rows(
    score: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]], rows: Sequence[Row], update_tokens: int
) -> list[Floats]:
    """Returns the log-probability of every sampled token of each row; one without any has an empty array."""
    sampled = [i for i, row in enumerate(rows) if len(row.token_ids)]
    batches = pack([rows[i] for i in sampled], update_tokens)
    scored = [score(batch)[0] for batch in batches]
    logprobs = [np.zeros(0, np.float32)] * len(rows)
    for place, values in rows_of(batches, scored).items():
        logprobs[sampled[place]] = values
    return logprobs


def rows_of(batches: Sequence[Batch], values: Iterable[torch.Tensor]) -> dict[int, Floats]:
    """Returns ``values``, [N] for each of ``batches``, by the number of the row (``Batch.row``).

    They are read at once, when all are computed: to read those of each batch would wait for it. Further ones
    are left out.
    """
    computed = list(values)[: len(batches)]
    if not computed:
        return {}
    numbers = np.concatenate([batch.row.numpy() for batch in batches])
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1)]  # the tokens of a row are one after the other
    parts = np.split(torch.cat(computed).float().cpu().numpy(), starts[1:])
    return {int(numbers[start]): part for start, part in zip(starts, parts, strict=True)}

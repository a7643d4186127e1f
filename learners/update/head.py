"""Log-probabilities of given tokens from hidden states and output head, without materialising all logits."""

from __future__ import annotations

from typing import Any

import torch

CHUNK = 512
"""Tokens whose logits exist at once, in at most two buffers: 512 x 151 936 float32 are 0.3 GB."""
KEPT = 2**29
"""Bytes that the gradients of logits may take from forward to backward; beyond, logits are computed again."""


def token_logprobs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    *,
    chunk: int = CHUNK,
    bfloat16_gradient: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the log-probability of each target, and entropies, from hidden states and output head.

    Logits exist for ``chunk`` tokens at a time. The backward pass computes them again, unless it multiplies
    in bfloat16 and their gradients take less than ``KEPT`` bytes, or the head is frozen.

    Args:
        hidden: [N, H]; logits are computed in its dtype.
        weight: [V, H], of the head.
        target: int64 [N].
        chunk: tokens.
        bfloat16_gradient: multiply the gradients in bfloat16, as autocast does in layers, also where
            ``hidden`` is float32. Log-probabilities and entropies do not depend on it.

    Returns:
        [N] log-probabilities (with gradient) and [N] entropies (without), natural log, float32 (float64 for
        float64 input).
    """
    if bfloat16_gradient and hidden.dtype != torch.bfloat16:
        learns = torch.is_grad_enabled()
        logprobs, entropy = _Bfloat16Head.apply(hidden, weight, target, chunk, learns)  # type: ignore[no-untyped-call]
    else:
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
        logits, exps = (_buffer(hidden, weight, chunk) for _ in range(2))
        logprobs = torch.empty(len(hidden), dtype=logits.dtype, device=hidden.device)
        normalisers, entropy = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for part in _chunks(len(hidden), chunk):
            table = compute_logits(hidden[part], cast, out=logits)
            largest, total = _exponentials(table, exps[: len(table)])
            normalisers[part] = largest + total.log()
            logprobs[part], entropy[part] = _statistics(table, exps[: len(table)], total, target[part])
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


class _Bfloat16Head(torch.autograd.Function):
    """``_Head`` of hidden states in float32, with the products of the gradient in bfloat16.

    ``errors``, softmax(logits) - onehot(target), are all of the logits that gradients depend on. With g, the
    gradient of the log-probabilities, known in the backward pass only::

        gradient of hidden = -g * (errors @ weight)        gradient of weight = -errors.T @ (g * hidden)

    So the forward pass has the first product, ``slopes``, from the logits that it computes anyway; a weight
    that is trained needs the errors again.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, chunk: int, learns: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cast, half = weight.to(hidden.dtype), weight.bfloat16()
        logits, exps = (_buffer(hidden, weight, chunk) for _ in range(2))
        logprobs = torch.empty(len(hidden), dtype=logits.dtype, device=hidden.device)
        entropy = torch.empty_like(logprobs)
        keeps = learns and weight.requires_grad and 2 * len(hidden) * len(weight) <= KEPT
        errors = half.new_empty(len(hidden) if keeps else len(logits), len(weight)) if learns else None
        slopes = torch.empty_like(hidden, dtype=half.dtype) if learns else None
        for part in _chunks(len(hidden), chunk):
            table = compute_logits(hidden[part], cast, out=logits)
            _, total = _exponentials(table, exps[: len(table)])
            logprobs[part], entropy[part] = _statistics(table, exps[: len(table)], total, target[part])
            if errors is not None and slopes is not None:
                own = errors[part] if keeps else errors[: len(table)]
                _round_errors(exps[: len(table)], total, target[part], out=own)
                torch.mm(own, half, out=slopes[part])
        trained = (hidden, weight, target) if weight.requires_grad else (None, None, None)
        ctx.save_for_backward(slopes, errors if keeps else None, *trained)
        ctx.chunk, ctx.dtype = chunk, hidden.dtype
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, None, None, None]:
        slopes, errors, hidden, weight, target = ctx.saved_tensors
        factor = -grads[0][:, None]
        grad_hidden, grad_weight = (slopes * factor).to(ctx.dtype), None
        if ctx.needs_input_grad[1]:
            scaled = (hidden * factor).bfloat16()
            if errors is not None:
                grad_weight = (errors.T @ scaled).to(weight.dtype)
            else:
                grad_weight = _recomputed(hidden, weight, target, scaled, ctx.chunk)
        return grad_hidden, grad_weight, None, None, None


def _recomputed(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, scaled: torch.Tensor, chunk: int
) -> torch.Tensor:
    """Returns errors.T @ ``scaled``, with the errors of logits in bfloat16.

    Their softmax has a normaliser of its own: with the exact one, the probability that remains for other
    tokens than a likely target would be the difference of two roundings.
    """
    half, logits = weight.bfloat16(), _buffer(hidden, weight, chunk)
    errors = torch.empty_like(logits, dtype=half.dtype)
    total = torch.zeros_like(weight, dtype=logits.dtype)
    for part in _chunks(len(hidden), chunk):
        table = compute_logits(hidden[part].bfloat16(), half, out=logits)
        _, sums = _exponentials(table, table)
        own = errors[: len(table)]
        _round_errors(table, sums, target[part], out=own)
        _add_product(total, own.T, scaled[part])
    return total.to(weight.dtype)


def _buffer(hidden: torch.Tensor, weight: torch.Tensor, chunk: int) -> torch.Tensor:
    """A buffer for the logits of a chunk, in at least float32."""
    exact = torch.promote_types(hidden.dtype, torch.float32)
    return torch.empty(min(chunk, len(hidden)), len(weight), dtype=exact, device=hidden.device)


def _exponentials(table: torch.Tensor, out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Subtracts from each row of logits its largest, and writes the exponentials to ``out``.

    Returns:
        The largest logits, and the sums of the exponentials: [n] each.
    """
    largest = table.amax(-1, keepdim=True)
    torch.exp(table.sub_(largest), out=out)
    return largest[:, 0], out.sum(-1)


def _statistics(
    shifted: torch.Tensor, exps: torch.Tensor, total: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns log-probabilities of targets and entropies after ``_exponentials``; overwrites ``shifted``."""
    logprobs = shifted.gather(-1, target[:, None])[:, 0] - total.log()
    return logprobs, total.log() - shifted.mul_(exps).sum(-1) / total


def _round_errors(
    exps: torch.Tensor, total: torch.Tensor, target: torch.Tensor, *, out: torch.Tensor
) -> None:
    """Writes softmax - onehot to ``out``, whose dtype may be lower; overwrites ``exps``.

    The difference is rounded once: a rounded probability near 1 would leave nothing of it.
    """
    rows = torch.arange(len(exps), device=exps.device)
    probabilities = exps.div_(total[:, None])
    probabilities[rows, target] -= 1.0
    out.copy_(probabilities)


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

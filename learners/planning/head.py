"""Memory that the output head needs in an update, forward and backward: that of ``learners.update.head``."""

from __future__ import annotations

from learners.planning.files import Items, nonzero
from learners.planning.job import Job
from learners.update.head import CHUNK, KEPT


def head(job: Job) -> Items:
    """Returns logits of a chunk, the gradients, and the hidden states, of all and of sampled tokens."""
    exact = job.model.head_float32 or job.element == 4
    half = job.model.head_float32 and job.compute == 2
    return nonzero(
        {
            "logits, head's gradient": max(_half(job)) if half else _exact(job, exact=exact),
            "hidden states": float(
                job.micro_tokens * job.shapes.hidden * (job.element + (4 if exact else 2))
            ),
            "head": head_copy(job),
        }
    )


def head_copy(job: Job) -> float:
    """Returns bytes of the head in float32, if its weights have another type."""
    copied = job.model.head_float32 and job.element != 4
    return 4.0 * job.shapes.vocab * job.shapes.hidden if copied else 0.0


def _exact(job: Job, *, exact: bool) -> float:
    """The forward pass has two tables of logits; the backward pass has one, and the gradient, which is summed
    in float32, and then copied for weights of another type. Products that are not in float32 are copied.
    """
    shapes, table = job.shapes, _table(job)
    copied = 0.0 if exact else table / 2
    hidden = 4.0 * job.micro_tokens * shapes.hidden
    element = 4 + (job.element if job.element != 4 else 0)
    gradient = 0.0 if job.adapters else float(shapes.vocab * shapes.hidden * element)
    return copied + max(2 * table, table + gradient + hidden)


def _half(job: Job) -> tuple[float, float]:
    """Forward and backward pass of ``_Bfloat16Head``, which keeps slopes, and errors if needed and small."""
    shapes, table = job.shapes, _table(job)
    weights, hidden = 2.0 * shapes.vocab * shapes.hidden, 2.0 * job.micro_tokens * shapes.hidden
    errors = 2.0 * job.micro_tokens * shapes.vocab
    kept = errors if not job.adapters and errors <= KEPT else 0.0
    forward = 2 * table + weights + (kept or table / 2) + hidden
    if job.adapters:
        return forward, 3 * hidden
    if kept:  # the gradient, and a copy for weights of another type
        return forward, kept + 4 * hidden + (3 if job.element == 4 else 1) * weights
    return forward, 2 * table + 4 * hidden + 4 * weights


def _table(job: Job) -> float:
    return 4.0 * min(CHUNK, job.micro_tokens) * job.shapes.vocab

"""Seconds and dollars of a run, from rooflines: bytes over bandwidth, operations over arithmetic.

Rough on purpose, and all guesses are in ``conf/assume``. Prefix caches are not counted on; a step's episodes
are taken to move from agent to agent together, so that engines of other agents idle meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from learners.planning.facts import Assume, Hardware, Job
from learners.planning.memory import cache_room
from learners.planning.shapes import Shapes


@dataclass(frozen=True)
class Coaching:
    """Of a step."""

    calls: float
    """0: the coach is no model."""
    dollars: float


@dataclass(frozen=True)
class Times:
    """Seconds of a step, by part, and of an evaluation."""

    step: Mapping[str, float]
    evaluation: float
    tokens: float
    """Sampled in a step."""
    batch: float
    """Sequences that an engine samples at once."""
    coaching: Coaching

    def whole(self, job: Job) -> float:
        """Of the run."""
        return job.steps * sum(self.step.values()) + job.evaluations * self.evaluation


def estimate(job: Job, hardware: Hardware, assume: Assume) -> Times:
    """What a step and an evaluation take."""
    turns = sum(job.turns.values())
    coaching = _coaching(job, assume, job.episodes * turns)
    verdict = assume.coach_s if coaching.calls else 0.0
    play = rollout_seconds(job, hardware, assume, job.episodes, verdict)
    rows = {agent: job.episodes * count for agent, count in job.turns.items()}
    updates = [update_seconds(job, hardware, assume, count) for count in rows.values()]
    references = [forward_seconds(job, hardware, assume, count) for count in rows.values()]
    at_once = max if job.layout.groups > 1 else sum
    step = {
        "sampling, tools, verdicts": max(play, coaching_floor(job, assume, coaching.calls)),
        "reference": float(at_once(references)) if job.reference else 0.0,
        "updates": float(at_once(updates)),
        "weights to engines": sync_seconds(job, assume),
    }
    return Times(
        step=step,
        evaluation=rollout_seconds(job, hardware, assume, job.evaluation_episodes, 0.0),
        tokens=job.episodes * turns * job.guess.completion,
        batch=_batch(job, hardware, assume, min(job.concurrency, job.episodes)),
        coaching=coaching,
    )


def decode_seconds(
    shapes: Shapes,
    hardware: Hardware,
    assume: Assume,
    *,
    batch: float,
    context: float,
    compute: int,
    gpus: int,
) -> float:
    """One token for each of ``batch`` sequences of ``context`` tokens: weights and cache are read once."""
    read = shapes.parameters * compute + batch * context * shapes.cache(compute)
    work = 2.0 * shapes.parameters * batch
    memory = read / (hardware.bandwidth * assume.decode_share)
    return max(memory, work / (hardware.bfloat16 * assume.prefill_mfu)) / gpus


def operations(shapes: Shapes, tokens: float, length: float, *, passes: float, attention: float) -> float:
    """Of all layers on ``tokens`` tokens in bins; attention goes over all of a bin, masked or not.

    Args:
        shapes: of the model.
        tokens: in all bins.
        length: of a bin.
        passes: through matrices, in forward passes; a backward pass counts as two where weights are trained.
        attention: the same through attention.
    """
    matrices = 2.0 * shapes.layers * sum(one.inputs * one.outputs for one in shapes.linears)
    return tokens * (passes * matrices + attention * 4.0 * shapes.layers * shapes.queries * length)


def rollout_seconds(job: Job, hardware: Hardware, assume: Assume, episodes: int, verdict: float) -> float:
    """All of so many episodes, ``job.concurrency`` at once; ``verdict`` are the seconds of one."""
    if not episodes:
        return 0.0
    guess, running = job.guess, min(job.concurrency, episodes)
    batch = _batch(job, hardware, assume, running)
    waiting = max(1.0, running / (max(1, job.layout.engines) * batch))
    per = job.tensor_parallel
    context = guess.prompt + guess.completion / 2
    token = decode_seconds(
        job.shapes, hardware, assume, batch=batch, context=context, compute=job.compute, gpus=per
    )
    prompts = 2.0 * job.shapes.parameters * batch * guess.prompt
    prefill = prompts / (hardware.bfloat16 * assume.prefill_mfu * per)
    turn = waiting * (guess.completion * token + prefill) + assume.tool_s
    turns = sum(job.turns.values())
    waves = max(1.0, episodes / job.concurrency)
    judged = verdict * (1.0 if job.deferred else turns)
    return waves * assume.spread * (turns * turn + judged)


def update_seconds(job: Job, hardware: Hardware, assume: Assume, rows: float) -> float:
    """One policy's update on ``rows`` rows: forward, recomputed where checkpointed, and backward."""
    passes = 3.0 + job.model.gradient_checkpointing
    if job.adapters:
        passes -= 1.0  # no gradient of the frozen weights
    body = _body(job, assume, rows, passes=passes, attention=1.0 + job.model.gradient_checkpointing + 2.5)
    work = body / (hardware.bfloat16 * assume.update_mfu)
    heads = _head(job, hardware, assume, rows, passes=3.0 if job.adapters else 4.0)
    optimizer = job.model.optimizer
    first = (
        forward_seconds(job, hardware, assume, rows) if optimizer.epochs * optimizer.minibatches > 1 else 0.0
    )
    return first + optimizer.epochs * (work + heads + _gathering(job, hardware, rows)) / job.layout.ranks


def forward_seconds(job: Job, hardware: Hardware, assume: Assume, rows: float) -> float:
    """Log-probabilities of one policy's rows, under the reference or before an update of many steps."""
    body = _body(job, assume, rows, passes=1.0, attention=1.0)
    work = body / (hardware.bfloat16 * assume.update_mfu)
    return (work + _head(job, hardware, assume, rows, passes=1.0)) / job.layout.ranks


def sync_seconds(job: Job, assume: Assume) -> float:
    """Weights of all policies, one after the other, to every engine of each; written, moved and read."""
    if not job.layout.engines:
        return 0.0
    size = job.trained * job.trained_element
    return 2.0 * job.policies * job.layout.engines * size / assume.sync_bytes


def coaching_floor(job: Job, assume: Assume, calls: float) -> float:
    """Seconds that so many verdicts take at least, for what the endpoint lets through."""
    if not calls:
        return 0.0
    endpoint = job.coach.endpoint
    at_once = calls * assume.coach_s / endpoint.concurrency
    by_calls = 60.0 * calls / (endpoint.requests_per_minute or float("inf"))
    tokens = calls * (assume.coach_prompt + assume.coach_completion)
    return float(max(at_once, by_calls, 60.0 * tokens / (endpoint.tokens_per_minute or float("inf"))))


def _coaching(job: Job, assume: Assume, verdicts: float) -> Coaching:
    """Of a coach that is a model itself; one within another coach is not looked for."""
    if "endpoint" not in job.coach or "prices" not in job.coach:
        return Coaching(0.0, 0.0)
    prices = job.coach.prices
    each = assume.coach_prompt * prices.prompt + assume.coach_completion * prices.completion
    return Coaching(verdicts, verdicts * each / 1e6)


def _batch(job: Job, hardware: Hardware, assume: Assume, running: int) -> float:
    """Sequences that an engine has under way: of those there are, as many as it may and its cache holds."""
    share = max(1.0, running / max(1, job.layout.engines))
    if not job.layout.engines:
        return min(share, float(job.sequences))
    return max(1.0, min(share, float(job.sequences), cache_room(job, hardware, assume).mean))


def _body(job: Job, assume: Assume, rows: float, *, passes: float, attention: float) -> float:
    mean = job.guess.prompt + job.guess.completion
    length = min(float(job.row), assume.longest_row * mean)
    return operations(job.shapes, rows * mean, length, passes=passes, attention=attention)


def _head(job: Job, hardware: Hardware, assume: Assume, rows: float, *, passes: float) -> float:
    """Seconds for logits of sampled tokens, in float32 where it is asked for."""
    work = 2.0 * job.shapes.vocab * job.shapes.hidden * rows * job.guess.completion * passes
    if job.model.head_float32:
        return work / (hardware.float32 * assume.float32_share)
    return work / (hardware.bfloat16 * assume.update_mfu)


def _gathering(job: Job, hardware: Hardware, rows: float) -> float:
    """Seconds in which FSDP2 moves weights twice and gradients once, for every micro-batch of all ranks."""
    ranks = job.layout.ranks
    if job.adapters or ranks == 1:
        return 0.0
    tokens = rows * (job.guess.prompt + job.guess.completion)
    batches = max(tokens / job.model.update_tokens, float(job.model.optimizer.minibatches))
    moved = 3.0 * job.shapes.parameters * job.element * (ranks - 1) / ranks
    return batches * moved / hardware.link

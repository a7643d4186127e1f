"""Seconds and dollars that a run takes, from rooflines: bytes over bandwidth, operations over arithmetic.

The estimates are deliberately rough, and all guesses are in ``conf/assume``. Prefix caches are ignored. All
episodes of a step are assumed to move from agent to agent together, so that the engines of the other agents
idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from learners.planning.assumptions import Assume, Hardware
from learners.planning.job import Job
from learners.planning.memory import cache_capacity
from learners.planning.shapes import Shapes


@dataclass(frozen=True)
class Coaching:
    """What a step's verdicts cost."""

    calls: float
    """0 if the coach is not a model."""
    dollars: float


@dataclass(frozen=True)
class Times:
    """How long a step and an evaluation take."""

    step: Mapping[str, float]
    """Part of a step -> seconds."""
    evaluation: float
    """Seconds."""
    tokens: float
    """Tokens sampled in a step."""
    batch: float
    """Sequences that an engine samples at once."""
    coaching: Coaching

    def run_seconds(self, job: Job) -> float:
        """Returns the seconds that the whole run takes."""
        return job.steps * sum(self.step.values()) + job.evaluations * self.evaluation


def estimate(jobs: Sequence[Job], hardware: Hardware, assume: Assume) -> Times:
    """Estimates how long a step and an evaluation take; the jobs' agents play one after the other."""
    job, learning = jobs[0], [one for one in jobs if one.learns]
    turns = sum(sum(one.turns.values()) for one in jobs)
    coaching = _coaching(job, assume, job.episodes * (turns + sum(job.hosted.values())))
    verdict = assume.coach_s if coaching.calls else 0.0

    def play(episodes: int, verdict: float) -> float:
        # A deferred verdict is waited for once an episode, whoever acts in it.
        waits = [verdict if one is job or not job.deferred else 0.0 for one in jobs]
        own = (
            rollout_seconds(one, hardware, assume, episodes, s) for one, s in zip(jobs, waits, strict=True)
        )
        return sum(own) + hosted_seconds(job, assume, episodes, 0.0 if job.deferred else verdict)

    at_once = sum if job.layout.local else max
    step = {
        "sampling, tools, verdicts": max(
            play(job.episodes, verdict), coaching_floor(job, assume, coaching.calls)
        ),
        "reference": float(at_once([_references(one, hardware, assume) for one in learning] or [0.0])),
        "updates": float(at_once([_updates(one, hardware, assume) for one in learning] or [0.0])),
        "weights to engines": sum(sync_seconds(one, assume) for one in learning),
    }
    return Times(
        step=step,
        evaluation=play(job.evaluation_episodes, 0.0),
        tokens=job.episodes * turns * job.guess.completion,
        batch=_batch(job, hardware, assume, min(job.concurrency, job.episodes)),
        coaching=coaching,
    )


def _updates(job: Job, hardware: Hardware, assume: Assume) -> float:
    """Seconds for the updates of all policies of a job: at once in groups of their own, else in turn."""
    each = [
        update_seconds(job, hardware, assume, job.episodes * turns) for turns in job.trained_turns.values()
    ]
    return float(max(each) if job.layout.groups > 1 else sum(each))


def _references(job: Job, hardware: Hardware, assume: Assume) -> float:
    if not job.reference:
        return 0.0
    each = [
        forward_seconds(job, hardware, assume, job.episodes * turns) for turns in job.trained_turns.values()
    ]
    return float(max(each) if job.layout.groups > 1 else sum(each))


def hosted_seconds(job: Job, assume: Assume, episodes: int, verdict: float) -> float:
    """Returns seconds for the turns of hosted agents in this many episodes, each a call as of a coach."""
    if not job.hosted or not episodes:
        return 0.0
    waves = max(1.0, episodes / job.concurrency)
    turn = assume.coach_s + assume.tool_s + verdict
    return waves * assume.longest_episode * sum(job.hosted.values()) * turn


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
    """Returns seconds for one token of each of ``batch`` sequences of ``context`` tokens: weights and cache
    are read once."""
    read = shapes.parameters * compute + batch * context * shapes.cache(compute)
    work = 2.0 * shapes.parameters * batch
    memory = read / (hardware.bandwidth * assume.decode_share)
    return max(memory, work / (hardware.bfloat16 * assume.prefill_mfu)) / gpus


def operations(shapes: Shapes, tokens: float, attended: float, *, passes: float, attention: float) -> float:
    """Returns the operations of all layers on rows of tokens.

    Args:
        shapes: sizes of the model.
        tokens: number of tokens in all rows.
        attended: tokens that one of them attends to, on average.
        passes: passes through matrices, in forward passes; a backward pass counts as two if weights are
        trained.
        attention: passes through attention, counted in the same way.
    """
    matrices = 2.0 * shapes.layers * sum(linear.inputs * linear.outputs for linear in shapes.linears)
    return tokens * (passes * matrices + attention * 4.0 * shapes.layers * shapes.queries * attended)


def rollout_seconds(job: Job, hardware: Hardware, assume: Assume, episodes: int, verdict: float) -> float:
    """Returns seconds for this many episodes; ``verdict``: seconds of one verdict."""
    if not episodes:
        return 0.0
    guess, running = job.guess, min(job.concurrency, episodes)
    batch = _batch(job, hardware, assume, running)
    waiting = max(1.0, running / (max(1, job.layout.engines) * batch))
    gpus = job.tensor_parallel
    context = guess.prompt + guess.completion / 2
    token = decode_seconds(
        job.shapes, hardware, assume, batch=batch, context=context, compute=job.compute, gpus=gpus
    )
    prompts = 2.0 * job.shapes.parameters * batch * guess.prompt
    prefill = prompts / (hardware.bfloat16 * assume.prefill_mfu * gpus)
    turn = waiting * (guess.completion * token + prefill) + assume.tool_s
    turns = sum(job.turns.values())
    waves = max(1.0, episodes / job.concurrency)
    judged = verdict * (1.0 if job.deferred else turns)
    return waves * assume.longest_episode * (turns * turn + judged)


def update_seconds(job: Job, hardware: Hardware, assume: Assume, rows: float) -> float:
    """Returns seconds for one policy's update on ``rows`` rows."""
    passes = 3.0 + job.model.gradient_checkpointing
    if job.adapters:
        passes -= 1.0  # frozen weights have no gradient
    body = _body(job, assume, rows, passes=passes, attention=1.0 + job.model.gradient_checkpointing + 2.5)
    work = body / (hardware.bfloat16 * assume.update_mfu)
    heads = _logits(job, hardware, assume, rows) + _head_gradient(job, hardware, assume, rows)
    optimizer = job.model.optimizer
    first = (
        forward_seconds(job, hardware, assume, rows) if optimizer.epochs * optimizer.minibatches > 1 else 0.0
    )
    return first + optimizer.epochs * (work + heads + _gathering(job, hardware, rows)) / job.layout.ranks


def forward_seconds(job: Job, hardware: Hardware, assume: Assume, rows: float) -> float:
    """Returns seconds for log-probabilities of one policy's rows: of the reference, or before an update of
    several steps."""
    body = _body(job, assume, rows, passes=1.0, attention=1.0)
    work = body / (hardware.bfloat16 * assume.update_mfu)
    return (work + _logits(job, hardware, assume, rows)) / job.layout.ranks


def sync_seconds(job: Job, assume: Assume) -> float:
    """Returns seconds for sending the weights of all that learn, one after the other, to every engine:
    written once, in the type that engines compute in, and read by each of them."""
    if not job.layout.engines:
        return 0.0
    size = job.trained * (job.trained_element if job.adapters else job.compute)
    return job.trained_policies * (1.0 + job.layout.engines) * size / assume.sync_bytes


def coaching_floor(job: Job, assume: Assume, calls: float) -> float:
    """Returns the least seconds that this many verdicts take, given the limits of the endpoint."""
    if not calls:
        return 0.0
    endpoint = job.coach.endpoint
    by_concurrency = calls * assume.coach_s / endpoint.concurrency
    by_calls = 60.0 * calls / (endpoint.requests_per_minute or float("inf"))
    tokens = calls * (assume.coach_prompt + assume.coach_completion)
    return float(max(by_concurrency, by_calls, 60.0 * tokens / (endpoint.tokens_per_minute or float("inf"))))


def _coaching(job: Job, assume: Assume, verdicts: float) -> Coaching:
    """Prices a coach that is a model itself; coaches within other coaches are not considered."""
    if "endpoint" not in job.coach or "prices" not in job.coach:
        return Coaching(0.0, 0.0)
    prices = job.coach.prices
    dollars = assume.coach_prompt * prices.prompt + assume.coach_completion * prices.completion
    return Coaching(verdicts, verdicts * dollars / 1e6)


def _batch(job: Job, hardware: Hardware, assume: Assume, running: int) -> float:
    """Sequences that an engine samples at once, limited by concurrency, its settings and its cache."""
    share = max(1.0, running / max(1, job.layout.engines))
    if not job.layout.engines:
        return min(share, float(job.max_sequences))
    return max(1.0, min(share, float(job.max_sequences), cache_capacity(job, hardware, assume).mean))


def _body(job: Job, assume: Assume, rows: float, *, passes: float, attention: float) -> float:
    mean = job.guess.prompt + job.guess.completion
    # The n tokens of a row attend to n^2 / 2, and the mean of n^2 is larger than the square of the mean.
    attended = mean * (1.0 + assume.row_deviation**2) / 2.0
    return operations(job.shapes, rows * mean, attended, passes=passes, attention=attention)


def _logits(job: Job, hardware: Hardware, assume: Assume, rows: float) -> float:
    """Seconds for the logits of sampled tokens, in float32 if the model asks for it."""
    work = 2.0 * job.shapes.vocab * job.shapes.hidden * rows * job.guess.completion
    if job.model.head_float32:
        return work / (hardware.float32 * assume.float32_share)
    return work / (hardware.bfloat16 * assume.update_mfu)


def _head_gradient(job: Job, hardware: Hardware, assume: Assume, rows: float) -> float:
    """Seconds for the head's backward pass, in the dtype of the layers: ``learners.update.head``."""
    logits = _logits(job, hardware, assume, rows)
    if job.compute != 2:  # logits again, and the gradients of hidden states and of weights that are trained
        return logits * (2.0 if job.adapters else 3.0)
    work = 2.0 * job.shapes.vocab * job.shapes.hidden * rows * job.guess.completion
    return work * (1.0 if job.adapters else 3.0) / (hardware.bfloat16 * assume.update_mfu)


def _gathering(job: Job, hardware: Hardware, rows: float) -> float:
    """Seconds for FSDP2's communication: weights twice and gradients once for each micro-batch."""
    ranks = job.layout.ranks
    if job.adapters or ranks == 1:
        return 0.0
    tokens = rows * (job.guess.prompt + job.guess.completion)
    batches = max(tokens / job.model.update_tokens, float(job.model.optimizer.minibatches))
    moved = 3.0 * job.shapes.parameters * job.element * (ranks - 1) / ranks
    return batches * moved / hardware.link

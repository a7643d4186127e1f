"""The update of a model of Qwen3-4B's shape, through ``LocalLearner.update`` as in a run.

Every row is a micro-batch or shares one, as ``model.update_tokens`` decides; one update of two short rows
warms up. Where the time does not suffice for all rows, fewer are trained, and the record says how many.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch

import conf
from benchmarks.gpu.cases import SkippedError, attempt
from benchmarks.gpu.device import now
from benchmarks.gpu.models import Shape, ids, random_model
from benchmarks.gpu.records import OK, Case, Figures, Settings
from benchmarks.update.ours import transition
from benchmarks.update.report import peak_flops
from benchmarks.update.watch import peak_bytes, reset_peak
from benchmarks.update.workload import Row
from conf.commands import compose
from learners.base import Algorithm
from learners.planning import memory
from learners.planning.assumptions import Assume
from learners.planning.job import Job, read_jobs
from learners.planning.shapes import Shapes
from learners.runtimes.parts import build_learner
from learners.update.learner import LocalLearner

GIB = 2.0**30
ROWS = 8
LENGTHS = (16384, 2048, 40960)
"""Tokens of a row, in the order in which they are measured."""
TOY_LENGTHS = (48, 24)
VARIANTS = (("adapter", "bfloat16"), ("full", "bfloat16"), ("full", "float32"))
"""Kind of weights, and their dtype; computation is in bfloat16 throughout, and adapters are float32."""
SLOWEST = 0.15
"""Share of the device's bfloat16 rate that is expected before anything is measured."""


@dataclass(frozen=True)
class Trained:
    """One model in memory, and what is known of its speed."""

    shape: Shape
    job: Job
    learner: LocalLearner
    algorithm: Algorithm


def cases(settings: Settings) -> Iterator[Case]:
    """Yields the cases of each variant; one model is in memory at a time."""
    end = time.monotonic() + settings.seconds
    lengths = TOY_LENGTHS if settings.toy else LENGTHS
    rate = SLOWEST * settings.rates.get("bfloat16", 1e9 if settings.toy else 4e14)
    for weights, dtype in VARIANTS:
        shape = Shape(settings.toy, weights, dtype, *split(max(lengths)))
        built: list[Trained] = []
        yield attempt(f"{weights}, {dtype}: built", partial(_build, shape, built))
        for length in lengths:
            name = f"{weights}, {dtype}: {ROWS} x {length}"
            case = attempt(name, partial(_update, built, length, end, rate, settings))
            if case.status == OK and isinstance(speed := case.figures["FLOP/s"], float):
                rate = speed
            yield case


def split(length: int) -> tuple[int, int]:
    """Returns the tokens of prompt and completion of a row: a quarter is sampled."""
    return length - length // 4, length // 4


def _build(shape: Shape, built: list[Trained]) -> Figures:
    """Puts the model into ``built``, and trains it once on two short rows."""
    config = shape.config()
    assume = conf.typed(Assume, compose(["+assume=usual"]).assume, "assume")
    (job,) = read_jobs(config, assume)
    weights = conf.build("learners.weights", config.weights)
    loaded = weights.load(random_model(config), ["bench"], "dsbench", 0, reference=False)
    trained = Trained(
        shape, job, build_learner(config, loaded["bench"]), conf.build("learners", config.algorithm)
    )
    _step(trained, 2, 32)
    built.append(trained)
    held = sum(memory.resident(job).values())
    return {"parameters": float(job.shapes.parameters), "planned resident GiB": held / GIB}


def _update(built: list[Trained], length: int, end: float, rate: float, settings: Settings) -> Figures:
    if not built:
        raise SkippedError("there is no model")
    trained = built[0]
    device = trained.learner.weights.loaded.device
    one = flops(trained.job.shapes, length, adapter=trained.shape.weights == "adapter")
    rows = min(ROWS, int((end - time.monotonic()) * rate / one))
    if rows < 1:
        raise SkippedError(
            f"one row would take about {one / rate:.0f} s of {end - time.monotonic():.0f} s left"
        )
    reset_peak(device)
    start = now(device)
    loss = _step(trained, rows, length)
    seconds = now(device) - start
    speed, product = rows * one / seconds, settings.rates.get("bfloat16")
    stated = peak_flops(torch.cuda.get_device_name()) if device.type == "cuda" else None
    return {
        "rows": float(rows),
        "s": seconds,
        "tokens/s": rows * length / seconds,
        "FLOP/s": speed,
        "MFU": speed / stated if stated else None,
        "share of measured products": speed / product if product else None,
        "peak GiB": peak_bytes(device) / GIB,
        "planned peak GiB": planned_peak(trained.job, length) / GIB,
        "loss": loss,
    }


def _step(trained: Trained, count: int, length: int) -> float:
    prompt, completion = split(length)
    vocab = trained.job.shapes.vocab
    rows = [
        Row(tuple(ids(prompt, vocab, number)), tuple(ids(completion, vocab, ~number)), (-1.0) ** number)
        for number in range(count)
    ]
    uniform = [-float(torch.tensor(float(vocab)).log())] * completion
    metrics = trained.learner.update(
        [transition(row, uniform) for row in rows],
        [[row.advantage] * completion for row in rows],
        trained.algorithm,
    )
    return metrics["loss"]


def planned_peak(job: Job, length: int) -> float:
    """Returns the bytes that ``learners.plan`` estimates for an update of rows of ``length`` tokens, without
    its margins."""
    prompt, completion = split(length)
    model = replace(job.model, max_prompt_tokens=prompt, max_new_tokens=completion)
    tokens = min(model.update_tokens, ROWS * length)
    job = replace(job, model=replace(model, update_tokens=tokens))
    update = ("forward", "head", "backward", "optimiser")
    return max(phase.total for phase in memory.trainer_phases(job) if phase.name in update)


def flops(shapes: Shapes, length: int, *, adapter: bool) -> float:
    """Returns the FLOPs of one row's update, without what is recomputed.

    2 for each matrix weight and token in the forward pass, 2 in the backward pass, and 2 more for the
    gradients of weights that are trained. The head counts for sampled tokens. Attention counts what a causal
    mask leaves, 2 x layers x width x T^2 forward and twice that backward.
    """
    passes = 4.0 if adapter else 6.0
    matrices = shapes.layers * sum(linear.inputs * linear.outputs for linear in shapes.linears)
    head = shapes.vocab * shapes.hidden * split(length)[1]
    attention = 6.0 * shapes.layers * shapes.queries * length**2
    return passes * (matrices * length + head) + attention

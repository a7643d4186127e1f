"""The process that measures one case: reads it and writes the result, as JSON files."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from math import log
from pathlib import Path

import torch

import conf
from benchmarks.gpu.models import ids, random_model
from benchmarks.plan.cases import TINY, Case, Measured, Part
from benchmarks.plan.counted import Counted, count
from benchmarks.update.ours import transition
from benchmarks.update.roofline import product_rate
from benchmarks.update.watch import held_bytes, peak_bytes, reset_peak
from benchmarks.update.workload import Row
from conf import ConfigError
from conf.commands import compose
from learners.base import Weights
from learners.config import RunConfig
from learners.models.base import resolve_device
from learners.planning import memory, timing
from learners.planning.assumptions import Assume, Hardware
from learners.planning.files import lent_bytes
from learners.planning.job import Job, read_jobs
from learners.runtimes.parts import build_algorithm, build_learner
from learners.update import allocator
from learners.update.learner import LocalLearner

UPDATE = ("forward", "head", "backward", "optimiser")


def measure(case: Case) -> Measured:
    """Trains the case's model three times; the last update is profiled."""
    config = RunConfig.read(compose(case.settings()))
    job = read_job(config, case)
    device = torch.device(resolve_device(config.model.device))
    if device.type == "cpu":
        allocator.prepare()
    _load_libraries(case)
    before = held_bytes(device)
    learner, update = build(config, case)
    if not reset_peak(device):
        raise ConfigError("the peak of updates cannot be measured: /proc/self/clear_refs cannot be written")
    update()
    seconds = _timed(update, device)
    peak = peak_bytes(device) - before
    parts, phases = compare(job, learner, update)
    rates = {name: product_rate(device, name) for name in {"float32", _precision(job)}}
    estimated = _seconds(job, case, rates)
    plan = max(phase.total for phase in memory.trainer_phases(job) if phase.name in UPDATE)
    return Measured(parts, phases, Part("peak", plan, peak), seconds, estimated, rates)


def _load_libraries(case: Case) -> None:
    """Updates a tiny model in the same way, so that no library has to be loaded later."""
    tiny = case.tiny(TINY)
    _, update = build(RunConfig.read(compose(tiny.settings())), tiny)
    update()
    gc.collect()


def build(config: RunConfig, case: Case) -> tuple[LocalLearner, Callable[[], object]]:
    """Loads the model and returns its learner, and an update of two micro-batches of the case's rows."""
    algorithm = build_algorithm(config)
    kind = random_model(config) if case.random else conf.build("learners.models", config.model)
    loaded = conf.build("learners.weights", config.weights).load(
        kind, ["bench"], config.env.name, config.seed, reference=algorithm.needs_reference
    )
    learner = build_learner(config, loaded["bench"])
    vocab = loaded["bench"].loaded.model.config.vocab_size
    rows = [
        Row(tuple(ids(case.prompt, vocab, i)), tuple(ids(case.completion, vocab, ~i)), (-1.0) ** i)
        for i in range(2 * case.rows)
    ]
    transitions = [transition(row, [-log(vocab)] * case.completion) for row in rows]
    advantages = [[row.advantage] * case.completion for row in rows]
    return learner, lambda: learner.update(transitions, advantages, algorithm)


def compare(
    job: Job, learner: LocalLearner, update: Callable[[], object]
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Counts the tensors of one more update, and of a transfer of weights to an engine.

    Returns:
        The parts of the memory, and the phases of an update: estimates beside counted bytes.
    """
    weights, moments = _bytes_of(learner.weights), _moments(learner)
    counted = count(update, learner.weights.loaded.model.base_model)
    phases = {phase.name: phase for phase in memory.trainer_phases(job)}
    totals = tuple(Part(name, phases[name].total, weights + moments + counted.peaks[name]) for name in UPDATE)
    with learner.weights.lend(None) as lent:
        size = float(lent.size)
    transfer = Part("weights for engines", lent_bytes(job), size)
    return (*_parts(job, weights, moments, counted), transfer), totals


def _parts(job: Job, weights: float, moments: float, counted: Counted) -> tuple[Part, ...]:
    resident = dict(memory.resident(job))
    planned = {phase.name: phase.items for phase in memory.trainer_phases(job)}
    optimiser = resident.pop("optimiser moments")
    stays = {*resident, "optimiser moments", "gradients"}
    forward, head = (
        {name: size for name, size in planned[phase].items() if name not in stays}
        for phase in ("forward", "head")
    )
    before = {name: size for name, size in head.items() if name in forward}
    kept = sum(before.values())
    chosen = head["hidden states"]
    return (
        Part("weights", sum(resident.values()), weights),
        Part("gradients", planned["backward"]["gradients"], counted.gradients),
        Part("optimiser state", optimiser, moments),
        Part("activations", kept + chosen, counted.kept),
        Part("head", sum(head.values()) - kept - chosen, counted.head),
    )


def read_job(config: RunConfig, case: Case) -> Job:
    """Returns what ``learners.plan`` knows of the case's run."""
    assume = _assume()
    (job,) = read_jobs(config, assume)
    guess = replace(assume.episodes[config.env.name], prompt=case.prompt, completion=case.completion)
    return replace(job, guess=guess)


def _assume() -> Assume:
    return conf.typed(Assume, compose(["+assume=usual"]).assume, "assume")


def _precision(job: Job) -> str:
    return "bfloat16" if job.compute == 2 else "float32"


def _seconds(job: Job, case: Case, rates: dict[str, float]) -> float:
    """Returns what ``learners.plan`` would say of an update on a device of these rates."""
    hardware = conf.typed(Hardware, compose(["+hardware=h100"]).hardware, "hardware")
    hardware = replace(hardware, bfloat16=rates[_precision(job)], float32=rates["float32"])
    return timing.update_seconds(job, hardware, replace(_assume(), row_deviation=0.0), 2.0 * case.rows)


def _timed(update: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    update()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _bytes_of(weights: Weights) -> float:
    """Bytes of a policy's parameters, trained or not, and of its reference."""
    with weights.active() as own:
        parameters = [*own.model.parameters()]
    if not weights.adapter:
        with suppress(ValueError), weights.reference() as frozen:
            parameters += frozen.model.parameters()
    return float(sum({p.data_ptr(): p.nbytes for p in parameters}.values()))


def _moments(learner: LocalLearner) -> float:
    state = learner.updater.state()["optimizer"]["state"].values()
    return float(sum(value.nbytes for one in state for value in one.values()))


def main(request: Path, result: Path) -> None:
    case = Case(**json.loads(request.read_text(encoding="utf-8")))
    result.write_text(json.dumps(asdict(measure(case))), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

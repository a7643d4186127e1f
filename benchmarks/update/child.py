"""The process that ``benchmarks.update.measure`` starts: reads a request and writes its result, as JSON
files."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.update.building import loaded
from benchmarks.update.measure import Measured, Platform
from benchmarks.update.roofline import product_rate
from benchmarks.update.watch import Watch, held_bytes, peak_bytes
from benchmarks.update.workload import Job, rows
from learners.types import Completion
from learners.update import allocator
from learners.update.logprobs import completion_logprobs

NATIVE = {"avx512_bf16", "amx_bf16"}
"""CPU instruction sets that multiply bfloat16 at least as fast as float32."""


def step(job: Job, old: Sequence[Sequence[float]]) -> Measured:
    """Trains in this process and measures every step after the first."""
    if job.device == "cpu" and (job.variant == "ours" or job.allocator == "ours"):
        allocator.prepare()
    ready = loaded(job)
    module = importlib.import_module(f"benchmarks.update.{job.variant}")
    variant: Any = getattr(module, job.variant.title())(ready, rows(job), old, job)
    watch = Watch(ready.device)
    level = held_bytes(ready.device)
    first = variant.run(watch)[0]
    timed, peak = watch.laps[1:], peak_bytes(ready.device)
    return Measured(
        seconds=[lap.seconds for lap in timed],
        cpu_s=[lap.cpu_s for lap in timed],
        foreign=[lap.foreign for lap in timed],
        level_bytes=level,
        peak_bytes=peak,
        product_rate=product_rate(ready.device, job.precision),  # after the peak: it has matrices of its own
        loss=first.loss,
        grad_norm=first.grad_norm,
        trained=first.trained,
        positions=first.positions,
    )


def score(job: Job) -> list[tuple[float, ...]]:
    """Returns log-probabilities of the rows' sampled tokens, as a generator would have returned them."""
    ready = loaded(job)
    completions = [Completion("", row.prompt, row.completion, (), 0, "stop") for row in rows(job)]
    return completion_logprobs(ready.model, completions, ready.config)


def describe() -> Platform:
    """Returns the hardware and library versions that the variants run on."""
    cuda = torch.cuda.is_available()
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return Platform(
        "cuda" if cuda else "cpu",
        torch.cuda.get_device_name() if cuda else "",
        torch.cuda.is_bf16_supported(including_emulation=False) if cuda else bool(NATIVE & flags),
        {name: _version(name) for name in ("torch", "transformers", "trl", "accelerate")},
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def main(request_path: Path, result_path: Path) -> None:
    request = json.loads(request_path.read_text(encoding="utf-8"))
    torch.set_num_threads(request["job"]["threads"])
    result: dict[str, Any]
    if request["what"] == "describe":
        result = asdict(describe())
    elif request["what"] == "score":
        result = {"logprobs": score(Job(**request["job"]))}
    else:
        result = asdict(step(Job(**request["job"]), request["old"]))
    result_path.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

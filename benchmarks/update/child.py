"""The process that ``benchmarks.update.measure`` starts: ``child GIVEN OUT``, two JSON files."""

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
from benchmarks.update.watch import Watch, held_bytes, peak_bytes
from benchmarks.update.workload import Job, rows
from learners.types import Completion
from learners.update import allocator
from learners.update.logprobs import completion_logprobs

NATIVE = {"avx512_bf16", "amx_bf16"}
"""Instructions of CPUs that multiply bfloat16 as fast as float32, or faster."""


def step(job: Job, old: Sequence[Sequence[float]]) -> Measured:
    """Trains in this process; every step after the first is timed."""
    if job.device == "cpu" and (job.variant == "ours" or job.allocator == "ours"):
        allocator.prepare()
    ready = loaded(job)
    module = importlib.import_module(f"benchmarks.update.{job.variant}")
    variant: Any = getattr(module, job.variant.title())(ready, rows(job), old, job)
    watch = Watch(ready.device)
    level = held_bytes(ready.device)
    first = variant.run(watch)[0]
    timed = watch.laps[1:]
    return Measured(
        seconds=[lap.seconds for lap in timed],
        cpu_s=[lap.cpu_s for lap in timed],
        foreign=[lap.foreign for lap in timed],
        level_bytes=level,
        peak_bytes=peak_bytes(ready.device),
        loss=first.loss,
        grad_norm=first.grad_norm,
        trained=first.trained,
        positions=first.positions,
    )


def score(job: Job) -> list[tuple[float, ...]]:
    """What a generator would have noted while it sampled the rows."""
    ready = loaded(job)
    given = [Completion("", row.prompt, row.completion, (), 0, "stop") for row in rows(job)]
    return completion_logprobs(ready.model, given, ready.config)


def look() -> Platform:
    """This machine as the variants find it."""
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


def main(given: Path, out: Path) -> None:
    asked = json.loads(given.read_text(encoding="utf-8"))
    torch.set_num_threads(asked["job"]["threads"])
    found: dict[str, Any]
    if asked["what"] == "look":
        found = asdict(look())
    elif asked["what"] == "score":
        found = {"logprobs": score(Job(**asked["job"]))}
    else:
        found = asdict(step(Job(**asked["job"]), asked["old"]))
    out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""A checkpoint that the GPU writes: it opens on the CPU with equal weights, and training goes on from it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

import conf
from benchmarks.gpu.cases import attempt
from benchmarks.gpu.models import Shape, ids, random_model
from benchmarks.gpu.records import Case, Figures, Settings
from benchmarks.update.ours import transition
from benchmarks.update.workload import Row
from learners.runtimes.parts import build_learner
from learners.types import Metrics
from learners.update.learner import LocalLearner

PROMPT, COMPLETION, ROWS = 12, 12, 3
CLOSE = 1e-2
"""Difference of losses between devices, which multiply bfloat16 in other orders, relative to the gradient."""


def cases(settings: Settings) -> Iterator[Case]:
    """Yields adapters and whole weights; the model is tiny, and computes as in a run, under autocast."""
    for weights in ("adapter", "full"):
        yield attempt(weights, partial(_check, weights, Path(settings.folder) / f"{weights}.pt"))


def _check(weights: str, path: Path) -> Figures:
    """Trains a step, saves, trains another; then restores on each device and repeats the second step.

    Raises:
        ValueError: the restored weights differ, or the repeated step does.
    """
    here = _learner(weights, "auto")
    _step(here, 0)
    here.save(path)
    saved = _copied(here)
    unbroken = _step(here, 1)
    figures: dict[str, float | str | None] = {"device": str(here.weights.loaded.device)}
    for device in ("auto", "cpu"):
        again = _learner(weights, device)
        again.restore(path)
        check_equal(saved, _copied(again), device)
        resumed = _step(again, 1)
        for name in ("loss", "grad_norm"):
            gap = abs(resumed[name] - unbroken[name])
            figures[f"{name}, {device} - unbroken"] = gap
            if gap > CLOSE * max(1.0, unbroken["grad_norm"]):
                raise ValueError(f"{name} of the step after the checkpoint differs by {gap:.3g} on {device}")
    return figures


def _learner(weights: str, device: str) -> LocalLearner:
    config = Shape(toy=True, weights=weights, dtype="float32", prompt=PROMPT, completion=COMPLETION).config()
    config.model.device = device
    kind = conf.build("learners.weights", config.weights)
    return build_learner(
        config, kind.load(random_model(config), ["bench"], "dsbench", 0, reference=False)["bench"]
    )


def _step(learner: LocalLearner, seed: int) -> Metrics:
    vocab = learner.weights.loaded.model.config.vocab_size
    rows = [
        Row(
            tuple(ids(PROMPT, vocab, 2 * n + 100 * seed)),
            tuple(ids(COMPLETION - n, vocab, 2 * n + 1)),
            (-1.0) ** n,
        )
        for n in range(ROWS)
    ]
    algorithm = conf.build("learners", conf.load("algorithm", "reinforcepp"))
    given = [transition(row, [-6.0] * len(row.completion)) for row in rows]
    return learner.update(given, [[row.advantage] * len(row.completion) for row in rows], algorithm)


def _copied(learner: LocalLearner) -> list[torch.Tensor]:
    return [parameter.detach().cpu().clone() for parameter in learner.weights.parameters()]


def check_equal(saved: list[torch.Tensor], restored: list[torch.Tensor], device: str) -> None:
    """Raises ``ValueError`` unless all bits agree."""
    if not all(torch.equal(a, b) for a, b in zip(saved, restored, strict=True)):
        raise ValueError(f"the weights that were restored on {device} are not those that were saved")

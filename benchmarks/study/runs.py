"""The runs of a study: which there are, which are finished, and what they recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.common.training import train
from benchmarks.evaluate import reading
from benchmarks.study import grid, measures
from conf import ConfigError, commands
from learners.config import RunConfig
from learners.run import folder as folders

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One training run: an arm with a seed."""

    arm: str
    seed: int
    folder: Path
    settings: tuple[str, ...]
    """What differs from the default run, other than seed and folder."""
    steps: int

    @property
    def label(self) -> str:
        """``outcome, seed 1``"""
        return f"{self.arm}, seed {self.seed}"

    def train(self) -> int:
        """Trains or resumes the run, and returns the exit code."""
        where = [f"seed={self.seed}", f"run_dir={self.folder}", "resume=true"]
        return train("learners.train", [*self.settings, *where])


@dataclass(frozen=True)
class Result:
    """What a finished run recorded about held-out tasks."""

    run: Run
    rows: tuple[Row, ...]
    """Its evaluations (``learners.run.metrics``), by step."""
    tasks: Mapping[str, Mapping[str, float]]
    """``success`` or ``fair`` -> task -> the mean over its episodes in the last evaluation."""
    metadata: Row

    @property
    def steps(self) -> list[int]:
        """The steps of the evaluations."""
        return [int(row["step"]) for row in self.rows]

    def curve(self, name: str) -> list[float]:
        """Returns a metric at every evaluation. ``gap`` is the success of regression minus that of
        classification."""
        if name == "gap":
            first, second = self.curve("success/regression"), self.curve("success/classification")
            return [a - b for a, b in zip(first, second, strict=True)]
        return [float(row[name]) for row in self.rows]

    def last(self, name: str) -> float:
        """Returns a metric after training."""
        return self.curve(name)[-1]

    def area(self, name: str) -> float:
        """Returns the area under ``curve``, divided by its width."""
        return measures.area(self.steps, self.curve(name))

    @property
    def episodes(self) -> int:
        """Episodes of one evaluation."""
        return int(self.rows[-1]["episodes"])


def plan(asked: str, seeds: Sequence[int], folder: Path, overrides: Sequence[str]) -> list[Run]:
    """Returns the runs of a study in the order in which they are trained; ``overrides`` apply to all.

    Raises:
        ConfigError: a letter or a setting is wrong, or the folder of a run was made with other settings.
    """
    return [
        _planned(arm, seed, folder / f"{arm}-seed{seed}", (*overrides, *grid.ARMS[arm]))
        for arm in grid.arms(grid.questions(asked))
        for seed in dict.fromkeys(seeds)
    ]


@cache
def compose(settings: tuple[str, ...]) -> RunConfig:
    """Returns the configuration of an arm's runs, but for the seed. Raises ``ConfigError`` if a setting is
    wrong."""
    return RunConfig.read(commands.compose(settings))


def _planned(arm: str, seed: int, folder: Path, settings: tuple[str, ...]) -> Run:
    config = replace(compose(settings), seed=seed)
    if not config.evaluation.every:
        raise ConfigError("evaluation.every=0: a study compares held-out curves, and needs evaluations")
    if (folder / folders.CONFIG).is_file() and (different := folders.differences(folder, config)):
        raise ConfigError(
            f"run folder {folder} was made with other settings: {', '.join(different)}: choose another --out"
        )
    return Run(arm, seed, folder, settings, config.steps)


def is_finished(run: Run) -> bool:
    """Whether the run's last evaluation is recorded."""
    path = run.folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not text.endswith("\n"):  # there is none, or a killed run left half a line
        return False
    last = json.loads(text.splitlines()[-1])
    return bool(last["phase"] == "eval" and last["step"] == run.steps)


def read(run: Run) -> Result:
    """Reads a finished run.

    Raises:
        ConfigError: it has no evaluation.
    """
    last = reading.read(run.folder)
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    names = sorted({one.task for one in last.episodes})
    rows = [row for row in map(json.loads, lines) if row["phase"] == "eval"]
    tasks = {
        name: {task: _mean(getattr(one, name) for one in last.episodes if one.task == task) for task in names}
        for name in ("success", "fair")
    }
    metadata = json.loads((run.folder / "metadata.json").read_text(encoding="utf-8"))
    return Result(run, tuple(rows), tasks, metadata)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)

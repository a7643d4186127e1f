"""TensorBoard reads a run's metrics from its event files: each once, also after a resumption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from learners.config import RunConfig
from learners.run.report import reporting
from learners.run.run import train
from learners.run.trackers.event_files import FOLDER
from tests.learners.parts.settings import settings

pytestmark = pytest.mark.tensorboard
Points = dict[str, list[tuple[int, float]]]


def close(value: float) -> Any:
    """Event files have 32 bits for a value."""
    return pytest.approx(value, rel=1e-6)


@pytest.fixture(autouse=True)
def installed() -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


def loaded(folder: Path, phase: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / FOLDER / phase)).Reload()


def points(folder: Path, phase: str) -> Points:
    """What TensorBoard shows of a phase: tag -> (step, value)."""
    read = loaded(folder, phase)
    return {tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def recorded(folder: Path, phase: str) -> Points:
    """The same as the files of the run have it."""
    found: Points = {}
    for file, prefix in (("metrics", ""), ("timings", "timing/")):
        for line in (folder / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["phase"] == phase:
                for name, value in row.items():
                    if name not in ("phase", "step", "time"):
                        found.setdefault(prefix + name, []).append((row["step"], close(value)))
    return found


def record(folder: Path, first: int, last: int, *, keep: int | None = None, on: bool = True) -> None:
    """A process that records steps ``first`` to ``last``, after it has cut the files to ``keep`` rows."""
    folder.mkdir(parents=True, exist_ok=True)
    config = RunConfig.read(settings(folder, tensorboard=on))
    with reporting(config, folder, Console(quiet=True)) as reporter:
        for name in ("metrics", "timings"):
            path = folder / f"{name}.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            path.write_text("".join(f"{line}\n" for line in lines[:keep]))
        for step in range(first, last):
            row = {"success": step / 10, "success/reg ression": 0.5, "fair": float(first)}
            timing = {"play_s": 1.0 + step, "time": 1000.5 + step}
            for name, values in (("metrics", row), ("timings", timing)):
                with (folder / f"{name}.jsonl").open("a") as file:
                    file.write(json.dumps({"phase": "train", "step": step} | values) + "\n")
            reporter.row("train", step, row, timing)


def test_a_resumed_run_shows_every_step_once_with_the_values_and_times_of_its_files(tmp_path: Path) -> None:
    record(tmp_path, 0, 5)
    assert points(tmp_path, "train") == recorded(tmp_path, "train")
    record(tmp_path, 3, 7, keep=3)
    record(tmp_path, 7, 7)
    shown = points(tmp_path, "train")
    assert shown == recorded(tmp_path, "train")
    assert [step for step, _ in shown["success/reg ression"]] == list(range(7))
    times = [one.wall_time for one in loaded(tmp_path, "train").Scalars("success")]
    assert times == [1000.5 + step for step in range(7)]


def test_event_files_that_were_wanted_later_have_what_was_before(tmp_path: Path) -> None:
    record(tmp_path, 0, 3, on=False)
    assert not (tmp_path / FOLDER).exists()
    record(tmp_path, 3, 5)
    assert points(tmp_path, "train") == recorded(tmp_path, "train")
    assert len(points(tmp_path, "train")["fair"]) == 5


def test_a_training_run_shows_its_metrics_under_their_own_names(tmp_path: Path) -> None:
    folder = train(settings(tmp_path / "run", steps=1, evaluation={"every": 1}, tensorboard=True))
    for phase in ("train", "eval"):
        shown = points(folder, phase)
        assert shown == recorded(folder, phase)
        assert {"success", "fair", "timing/play_s"} < set(shown)
    (folder / FOLDER).rename(tmp_path / "moved")
    train(settings(tmp_path / "run", steps=1, evaluation={"every": 1}, tensorboard=True, resume=True))
    assert points(folder, "eval") == recorded(folder, "eval"), "a finished run is shown too"

"""A damaged checkpoint is found before it is used, and the newest whole one is used, with a warning."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf import ConfigError
from learners import export
from learners.run import checkpoint
from learners.run.evaluation import evaluation_of
from learners.run.run import train
from tests.learners.parts.settings import settings

CONFIG: dict[str, Any] = {"steps": 3, "evaluation": {"every": 0}, "checkpoint": {"every": 1, "keep": 3}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("made") / "run"
    train(settings(run, **CONFIG))
    return run


@pytest.fixture
def run(tmp_path: Path, made: Path) -> Path:
    """A finished run with three checkpoints, the newest of which a test damages."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def newest(run: Path) -> Path:
    return run / "checkpoints" / "step-000003"


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.unlink(), "b.pt"),
    (lambda path: path.write_bytes(b""), "b.pt"),
    (halve, "b.pt"),
    (flip, "b.pt"),
    (zero, "c.pt"),
    (lambda path: path.write_text("{"), "state.json"),
    (lambda path: path.write_text("[]"), "state.json"),
    (lambda path: path.write_text(json.dumps({"step": 3})), "state.json"),
    (lambda path: path.unlink(), "state.json"),
]


@pytest.mark.parametrize(("damage", "name"), DAMAGE)
def test_the_newest_whole_checkpoint_is_used_and_the_damaged_one_is_named(
    run: Path, damage: Callable[[Path], object], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(newest(run) / name)
    found = checkpoint.latest(run)
    assert found is not None
    assert found.step == 2
    [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
    text = record.getMessage()
    assert "step-000003 is damaged" in text
    assert name in text
    assert "step-000002" in text


def test_a_resumed_run_goes_on_from_the_whole_one_and_gives_the_same_metrics(run: Path, made: Path) -> None:
    flip(newest(run) / "a.pt")
    train(settings(run, **CONFIG, resume=True))
    assert (run / "metrics.jsonl").read_bytes() == (made / "metrics.jsonl").read_bytes()
    found = checkpoint.latest(run)
    assert found is not None
    assert found.step == 3, "the damaged one no longer stands before those that are written"
    assert (run / "checkpoints" / "damaged-step-000003").is_dir()


def test_export_and_evaluation_use_the_whole_one_too(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    halve(newest(run) / "a.pt")
    assert export.export(run, tmp_path / "out")
    assert "step-000003 is damaged" in caplog.text
    assert newest(run).is_dir(), "reading a run changes nothing in it"
    evaluation_of(run)


def test_without_a_whole_checkpoint_each_damaged_one_is_named(run: Path, tmp_path: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        halve(path / "b.pt")
    for use in (
        lambda: train(settings(run, **CONFIG, resume=True)),
        lambda: export.export(run, tmp_path / "out"),
        lambda: evaluation_of(run),
    ):
        named = ".*".join(rf"step-00000{step} is damaged \(b\.pt " for step in (3, 2, 1))
        with pytest.raises(ConfigError, match=f"no checkpoint can be read: {named}"):
            use()
    assert len(list((run / "checkpoints").iterdir())) == 3


def test_checkpoints_of_an_older_version_which_lists_no_files_are_read(run: Path) -> None:
    state = json.loads((newest(run) / "state.json").read_text())
    del state["files"]
    (newest(run) / "state.json").write_text(json.dumps(state))
    found = checkpoint.latest(run)
    assert found is not None
    assert found.step == 3


def test_checkpoints_are_ordered_by_number_and_other_folders_are_left_alone(run: Path) -> None:
    newest(run).rename(newest(run).with_name("step-1000000"))
    (run / "checkpoints" / "step-by-step").mkdir()
    assert checkpoint.steps(run) == [1, 2, 1000000]
    assert (run / "checkpoints" / "step-by-step").is_dir()

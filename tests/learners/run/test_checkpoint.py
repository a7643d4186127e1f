"""A checkpoint is complete or absent at every moment, so that a run can be killed at any moment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pytest
from filelock import FileLock

from learners.errors import TrainingError
from learners.policy import Policy
from learners.run import checkpoint
from learners.run.folder import RunFolder

FILES = {"modeler.pt", "analyst.pt", "state.json"}


class Weights:
    """A policy whose weights are a short text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, path: Path) -> None:
        path.write_text(self.text, encoding="utf-8")


def run_folder(path: Path) -> RunFolder:
    return RunFolder(path, FileLock(path / "lock"))


def save(folder: RunFolder, step: int) -> None:
    policies = {name: cast(Policy, Weights(f"{name} {step}")) for name in ("modeler", "analyst")}
    checkpoint.save(folder, step, policies, checkpoint.Progress(folder.sizes(), {"seen": step}, {}), keep=2)


def incomplete(run: Path) -> list[str]:
    """The checkpoints in a run folder that a resumed run would take and that lack a file."""
    folders = (run / "checkpoints").glob("step-*")
    return [path.name for path in folders if {file.name for file in path.iterdir()} != FILES]


def test_every_file_operation_leaves_only_complete_checkpoints(tmp_path: Path) -> None:
    """Audit events come before each operation, where a kill would leave the folder as it is then."""
    folder = run_folder(tmp_path)
    faults: list[str] = []
    events: set[str] = set()
    watching = [False]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and event.split(".")[0] in ("open", "os", "shutil") and event != "os.scandir":
            watching[0] = False  # what the check does itself is not watched
            events.add(event)
            faults.extend(f"{name} before {event}" for name in incomplete(tmp_path))
            watching[0] = True

    sys.addaudithook(watch)  # cannot be removed: it does nothing unless watching
    for step in (1, 2):
        watching[0] = True
        save(folder, step)
        watching[0] = False
    assert faults == []
    assert {"open", "os.rename"} <= events


def test_the_newest_checkpoints_are_kept_and_read_back(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    for step in (1, 2, 3):
        save(folder, step)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert (newest.step, newest.coach) == (3, {"seen": 3})
    assert (newest.path / "modeler.pt").read_text(encoding="utf-8") == "modeler 3"
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-000002",
        "step-000003",
    ]


def test_a_run_without_a_checkpoint_has_no_newest_one(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None


def test_a_checkpoint_that_failed_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path)
    save(folder, 1)

    def fail(path: Path, text: str, encoding: str) -> int:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail)
        with pytest.raises(TrainingError, match="step-000002 cannot be written: no space"):
            save(folder, 2)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert newest.step == 1
    save(folder, 2)
    assert incomplete(tmp_path) == []

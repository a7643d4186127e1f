"""A full disk is one line; drafts go, and what was there before stays whole."""

from __future__ import annotations

import builtins
import errno
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf import ConfigError
from learners.errors import TrainingError
from learners.run import checkpoint
from learners.run.folder import open_folder
from learners.run.run import train
from tests.learners import timeless
from tests.learners.parts.settings import settings as small
from tests.learners.run.test_folder import settings


class Disk:
    """Writes to files below ``root`` whose path has ``full`` in it fail, and are cut in half."""

    def __init__(self, root: Path) -> None:
        self.root, self.full = root, ""

    def write(self, file: io.FileIO, data: Any) -> int:
        if self.full and str(file.name).startswith(str(self.root)) and self.full in str(file.name):
            RAW_WRITE(file, memoryview(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = RAW_WRITE(file, data)
        return written


RAW_WRITE: Any = io.FileIO.write


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that can be full: every file below the test's folder is opened through it."""
    made = Disk(tmp_path)

    class File(io.FileIO):
        def write(self, data: Any, /) -> int:
            return made.write(self, data)

    plain = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, int) or not str(file).startswith(str(tmp_path)) or not set(mode) & set("wax"):
            return plain(file, mode, *args, **kwargs)
        raw = File(file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8", write_through=False)

    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(builtins, "open", opened)
    return made


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_new_run_on_a_full_disk_leaves_nothing_behind(tmp_path: Path, disk: Disk) -> None:
    disk.full = "config"
    with pytest.raises(ConfigError, match=r"run folder .* cannot be written: No space left on device"):
        open_folder(settings(tmp_path / "run"))
    assert files(tmp_path) == set()
    disk.full = ""
    with open_folder(settings(tmp_path / "run")) as folder:
        assert (folder.path / "config.yaml").stat().st_size > 100


def test_a_row_is_whole_or_absent(tmp_path: Path, disk: Disk) -> None:
    with open_folder(settings(tmp_path / "run")) as folder:
        folder.append("metrics", {"step": 1})
        disk.full = "metrics"
        with pytest.raises(TrainingError, match=r"metrics\.jsonl cannot be written: No space left on device"):
            folder.append("metrics", {"step": 2})
        assert list(folder.rows("metrics")) == [{"step": 1}]
        disk.full = ""
        folder.append("metrics", {"step": 2})
        assert list(folder.rows("metrics")) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("name", ["metadata", "bias"])
def test_a_report_is_the_old_one_or_the_new_one(tmp_path: Path, disk: Disk, name: str) -> None:
    with open_folder(settings(tmp_path / "run")) as folder:
        folder.report(name, {"value": "old"})
        before = files(tmp_path)
        disk.full = name
        with pytest.raises(TrainingError, match=rf"{name}\.json cannot be written: No space left on device"):
            folder.report(name, {"value": "new"})
        assert files(tmp_path) == before
        assert "old" in (folder.path / f"{name}.json").read_text()


CONFIG: dict[str, Any] = {"steps": 2, "evaluation": {"every": 0}, "checkpoint": {"every": 1, "keep": 1}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    return train(small(tmp_path_factory.mktemp("whole") / "run", **CONFIG))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a.pt", "state.json", "metrics", "episodes", "timings", "metadata", "curves"]
)
def test_a_run_on_a_full_disk_ends_with_one_line_and_resumes(
    tmp_path: Path, whole: Path, disk: Disk, name: str
) -> None:
    disk.full = f"run/{name}" if name in ("metrics", "episodes", "timings") else name
    with pytest.raises(TrainingError, match="cannot be written: No space left on device") as caught:
        train(small(tmp_path / "run", **CONFIG))
    assert "\n" not in str(caught.value)
    assert not [path for path in files(tmp_path) if ".tmp" in path]
    disk.full = ""
    train(small(tmp_path / "run", **CONFIG, resume=True))
    assert timeless.episodes(tmp_path / "run") == timeless.episodes(whole)
    rows = [(run / "metrics.jsonl").read_bytes() for run in (tmp_path / "run", whole)]
    assert rows[0] == rows[1]
    assert files(tmp_path / "run") == files(whole)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_run_on_a_disk_that_is_too_small_resumes_on_a_larger_one(tmp_path: Path, tiny_disk: Path) -> None:
    with pytest.raises((TrainingError, ConfigError), match="No space left on device"):
        train(small(tiny_disk / "run", **CONFIG))
    assert not [path for path in files(tiny_disk) if ".tmp" in path]
    subprocess.run(["mount", "-o", "remount,size=100m", str(tiny_disk)], check=True)
    train(small(tiny_disk / "run", **CONFIG, resume=True))
    newest = checkpoint.latest(tiny_disk / "run")
    assert newest is not None
    assert newest.step == 2

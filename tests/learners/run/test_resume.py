"""A run that is interrupted anywhere and resumed gives the same results as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf import ROOT
from learners.run import checkpoint, files
from learners.run.build import build
from learners.run.run import train
from tests.test_conf import composed

ARGUMENTS = (
    *("experiment=smoke", "runtime.torch_threads=1"),
    *("algorithm.kl=reward_k1", "rollout.tasks=1", "evaluation.every=2", "evaluation.tasks=2"),
    "env=mathchat",  # its programs take less time than those of dsbench
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Interruption(BaseException):
    """Ends a run in this process as abruptly as an exception can: nothing in the run catches it."""


def run(folder: Path, *arguments: str) -> Path:
    return train(composed(*ARGUMENTS, f"run_dir={folder}", *arguments))


def lines(folder: Path, name: str) -> int:
    path = folder / f"{name}.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def same(run: Path, whole: Path) -> bool:
    assert lines(run, "episodes") == lines(whole, "episodes")
    return (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    return run(tmp_path_factory.mktemp("whole") / "run")


def test_a_run_that_is_killed_amid_an_episode_resumes_and_a_finished_run_is_left_as_it_is(
    tmp_path: Path, whole: Path
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "learners.reinforcepp", *ARGUMENTS, f"run_dir={folder}"]
    process = subprocess.Popen(command, cwd=ROOT.parent, stdin=subprocess.DEVNULL, start_new_session=True)
    before_second = 2 + 2  # episodes of the first evaluation and of the first step
    deadline = time.monotonic() + 600
    while lines(folder, "episodes") <= before_second:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never reached the point where it is killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert same(run(folder, "resume=true"), whole)
    assert same(run(folder, "resume=true"), whole)


def after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which is interrupted instead of its call number ``calls``, counted from 0."""
    count = iter(range(calls + 1))

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(count) == calls:
            raise Interruption
        return function(*args, **kwargs)

    return interrupted


def interrupt(monkeypatch: pytest.MonkeyPatch, name: str, calls: int) -> None:
    if name == "build":
        monkeypatch.setattr("learners.run.run.build", after(calls, build))
    elif name == "save":
        monkeypatch.setattr(checkpoint, "save", after(calls, checkpoint.save))
    else:
        sync = files.sync
        interrupted = after(calls, sync)
        monkeypatch.setattr(
            files, "sync", lambda path: (interrupted if "checkpoints" in path.parts else sync)(path)
        )


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        pytest.param("build", 0, id="before the parts are built"),
        pytest.param("save", 0, id="before the first checkpoint"),
        pytest.param("save", 2, id="between a step's metrics and its checkpoint"),
        pytest.param("sync", 7, id="amid the writing of a checkpoint"),
        pytest.param("sync", 14, id="between a checkpoint's renaming and the next step"),
    ],
)
def test_a_run_that_is_interrupted_gives_the_same_metrics(
    name: str, calls: int, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint calls ``sync`` five times: for three policies, its state and, once renamed, its folder."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, name, calls)
        with pytest.raises(Interruption):
            run(folder)
    assert same(run(folder, "resume=true"), whole)

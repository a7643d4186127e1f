"""A run that is killed and resumed gives the same results as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conf import ROOT

ARGUMENTS = ("experiment=smoke", "model.warm_start.steps=30", "algorithm.kl=reward_k1", "evaluation.every=2")


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "learners.reinforcepp", *ARGUMENTS, f"run_dir={folder}", *arguments]
    return subprocess.Popen(command, cwd=ROOT.parent, stdin=subprocess.DEVNULL, start_new_session=True)


def kill_when(run: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not ready():
        assert run.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run never got to where it should be killed"
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL


def lines(folder: Path, name: str) -> int:
    path = folder / f"{name}.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_three_points_and_resumed_a_run_gives_the_same_metrics(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait() == 0
    # While its parts are built; amid the episodes of the second step; right after that step's metrics, before
    # its checkpoint or amid its writing.
    kill_when(start(broken), lambda: (broken / "config.yaml").exists())
    before_second = 4 + 4  # episodes of the first evaluation and of the first step
    kill_when(start(broken, "resume=true"), lambda: lines(broken, "episodes") > before_second)
    kill_when(start(broken, "resume=true"), lambda: lines(broken, "metrics") >= 3)
    assert start(broken, "resume=true").wait() == 0
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert lines(broken, "episodes") == lines(whole, "episodes")
    assert start(broken, "resume=true").wait() == 0, "a finished run has nothing left to do"
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()

"""Stopping, ending and measuring descendants: in a process of its own, without other children."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import os, signal, time
from unittest.mock import patch
from sandbox.guest import processes
from sandbox.guest.seccomp import libc
libc.prctl(36, 1, 0, 0, 0)  # this process adopts orphans, as a guest does
def fork(*nested):
    pid = os.fork()
    if pid == 0:
        for each in nested: fork(*each)
        while True: pass
    return pid
first, second = fork((), ((),)), fork(())
while len(processes.descendants(os.getpid())) < 6: pass
"""
UNLISTED = """
exists = os.path.exists
patch("os.path.exists", lambda path: "children" not in path and exists(path)).start()
"""


def output(code: str, unlisted: bool = False) -> str:
    code = BEGIN.replace("def fork", (UNLISTED if unlisted else "") + "def fork", 1) + code
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprocesses.end_rest()"],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("unlisted", [False, True])
def test_stopped_processes_do_not_run_until_they_are_resumed(unlisted: bool) -> None:
    code = """
print(len(processes.running()))
processes.stop_descendants(20)
print(len(processes.running()))
before = processes.cpu_seconds(first)
time.sleep(0.2)
print(before > 0, processes.cpu_seconds(first) == before)
processes.resume(first)
print(processes.running() == {first} | processes.descendants(first))
"""
    assert output(code, unlisted) == "6\n0\nTrue True\nTrue\n"


@pytest.mark.parametrize("unlisted", [False, True])
def test_descendants_end_except_the_spared_ones(unlisted: bool) -> None:
    code = """
spared = {first} | processes.descendants(first)
processes.end_rest(frozenset({first}))
print(processes.descendants(os.getpid()) == spared, len(spared))
os.kill(first, signal.SIGKILL)
processes.end_rest()
print(processes.descendants(os.getpid()))
"""
    assert output(code, unlisted) == "True 4\nset()\n"


def test_a_process_that_is_gone_counts_as_zero_cpu_seconds() -> None:
    assert (
        output("os.kill(second, 9)\nos.waitpid(second, 0)\nprint(processes.cpu_seconds(second))") == "0.0\n"
    )

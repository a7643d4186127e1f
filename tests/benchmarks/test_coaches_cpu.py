"""CPU time of a coach is that of its process and of what it starts."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.coaches import cpu
from benchmarks.corpus import cases
from coaches.judging.inner import build_coach


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_cpu_time_counts_this_process_and_those_below_it_running_or_ended() -> None:
    start = cpu.cpu_s()
    spin(0.05)
    assert cpu.cpu_s() - start >= 0.04
    program = "import time\nwhile time.process_time() < 0.1: pass\nprint(1, flush=True)\ninput()"
    before = cpu.cpu_s()
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    assert cpu.cpu_s() - before >= 0.09
    child.communicate("\n")
    assert cpu.cpu_s() - before >= 0.09, "it has ended and was reaped"


def test_every_case_is_measured() -> None:
    some = cases.read("public")[:3]
    taken = cpu.measure(build_coach({"name": "rules"}), some, rounds=2)
    assert len(taken) == 3
    assert all(ms >= 0.0 for ms in taken)

"""Freed host memory is returned to the system, also below blocks in use; large tensors are in huge pages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from learners.update.allocator import HUGE

PROGRAM = """
import sys
from pathlib import Path
import torch
from learners.update.allocator import prepare

def resident():
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024

if sys.argv[1] == "yes":
    assert prepare()
torch.ones(4 * 2**20).sum()  # after it is freed, glibc by default serves blocks of this size from its heap
before = resident()
short, kept = zip(*[(torch.ones(2**20), torch.ones(2**19)) for _ in range(16)])
del short
print(resident() - before)
"""


def printed(program: str, asked: str) -> float:
    """Returns the number that a fresh interpreter prints, where no other test has enabled huge pages."""
    env = {name: value for name, value in os.environ.items() if name != HUGE}
    command = [sys.executable, "-c", program, asked]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize(("asked", "least", "most"), [("yes", 30, 45), ("no", 80, 110)])
def test_only_memory_in_use_stays_resident(asked: str, least: float, most: float) -> None:
    """In MiB: 16 x 2 of 16 x 6 are kept. By default glibc keeps it all; once it does not, drop the call."""
    assert least < printed(PROGRAM, asked) < most


PAGES = """
import re
import sys
from pathlib import Path
import torch
from learners.update.allocator import prepare

if sys.argv[1] == "yes":
    assert prepare()
kept = torch.ones(16 * 2**20)
print(sum(map(int, re.findall(r"AnonHugePages: +([0-9]+)", Path("/proc/self/smaps").read_text()))) / 1024)
"""
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not SETTING.exists() or "[madvise]" not in SETTING.read_text(),
    reason="programs cannot choose huge pages here",
)
@pytest.mark.parametrize(("asked", "least", "most"), [("yes", 48, 64), ("no", 0, 0)])
def test_large_tensors_are_in_huge_pages(asked: str, least: float, most: float) -> None:
    """In MiB, for a tensor of 64."""
    assert least <= printed(PAGES, asked) <= most

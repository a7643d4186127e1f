"""All that reads what hostile code wrote, under many seeded cases; the fuzzers, held to finding faults."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.fuzz.__main__ import TARGETS

CASES = int(os.environ.get("COACHGYM_FUZZ_CASES", "100000"))
"""For each target."""
ROOT = Path(__file__).parents[2]
BREAKS = [
    (target, broken)
    for target in TARGETS
    for broken in importlib.import_module(f"tests.sandbox.fuzz.{target}").TARGET.breaks
]


def fuzz(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.sandbox.fuzz", target, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(max(300, CASES // 200))
@pytest.mark.parametrize("target", TARGETS)
def test_hostile_input_is_read_without_harm(target: str) -> None:
    done = fuzz(target, "--cases", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("target", "broken"), BREAKS)
def test_the_fuzzers_find_what_was_broken(target: str, broken: str) -> None:
    done = fuzz(target, "--cases", "20000", "--break", broken)
    assert done.returncode == 1, f"nobody noticed that {broken}"
    assert "AGAIN: python -m tests.sandbox.fuzz" in done.stdout, done.stdout + done.stderr

"""The same properties on many more examples, new ones every time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MODULES = sorted(path.name for path in FOLDER.glob("test_*.py") if path.name != Path(__file__).name)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", MODULES)
def test_many_examples_find_nothing(module: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / module)]
    variables = {"COACHGYM_FUZZ_EXAMPLES": "500"} | os.environ
    done = subprocess.run(
        command, cwd=FOLDER.parents[2], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout

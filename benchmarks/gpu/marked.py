"""The tests that are marked ``gpu``, with pytest if it is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.cases import SkippedError, attempt
from benchmarks.gpu.records import Case, Figures, Settings

ROOT = Path(__file__).resolve().parents[2]


def cases(settings: Settings) -> Iterator[Case]:
    """Yields one case for all of them."""
    yield attempt("pytest -m gpu", lambda: _run(Path(settings.folder) / "junit.xml"))


def marked(tests: Path) -> list[Path]:
    """Returns the files that mention the mark: to collect all would import every optional package."""
    found = (path for path in sorted(tests.rglob("test_*.py")) if path.name != "test_gpu.py")
    return [path for path in found if re.search(r"mark\.gpu\b", path.read_text(encoding="utf-8"))]


def _run(result: Path) -> Figures:
    """Raises ``ValueError`` if one fails."""
    if find_spec("pytest") is None:
        raise SkippedError("pytest is not installed")
    files = marked(ROOT / "tests")
    if not files:
        raise SkippedError("there are no tests marked gpu here")
    words = ["-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={result}", *map(str, files)]
    code = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False).returncode
    if not result.is_file():
        raise ValueError(f"pytest ended with exit code {code} and no result")
    counts = outcomes(result)
    if code:
        raise ValueError(f"{counts['failed']:.0f} of {sum(counts.values()):.0f} tests failed; see tests.log")
    if not counts["passed"]:
        raise SkippedError(f"{counts['skipped']} tests need what is not there")
    return dict(counts)


def outcomes(result: Path) -> Counter[str]:
    """Counts tests that passed, failed and were skipped in a JUnit file."""
    kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    counts = Counter(passed=0, failed=0, skipped=0)
    for case in ElementTree.parse(result).iter("testcase"):
        counts[next((kinds[child.tag] for child in case if child.tag in kinds), "passed")] += 1
    return counts

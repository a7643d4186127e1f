"""What holds for every test: what CI provides must be used, not skipped."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

MUST_RUN = set(os.environ.get("COACHGYM_MUST_RUN", "").split())
"""Marks whose tests must not be skipped here, e.g. ``docker`` where a daemon was started for them."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a test that must run into a failure."""
    report = yield
    marks = MUST_RUN & {mark.name for mark in item.iter_markers()}
    if report.skipped and marks and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"COACHGYM_MUST_RUN has {', '.join(sorted(marks))}, but: {report.longrepr}"
    return report

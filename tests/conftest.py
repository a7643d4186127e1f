"""What holds for every test: what CI provides must be used, not skipped."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # for vLLM imports Ray before we can say so

MUST_RUN = set(os.environ.get("COACHGYM_MUST_RUN", "").split())
"""Marks whose tests must not be skipped here, e.g. ``docker`` where a daemon was started for them."""


GROUPS = ("ray", "vllm", "docker")
"""Marks whose tests share what a machine has once, and so run one after the other; they take longest."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For ``-n N --dist loadgroup``: files and groups stay together, and what takes longest starts first."""
    if not hasattr(config, "workerinput"):  # one process runs all, in the order of their names
        return
    ranks: dict[str, int] = {}
    for item in items:
        group = next((mark for mark in GROUPS if item.get_closest_marker(mark)), str(item.path))
        slow = item.get_closest_marker("slow") is not None
        rank = GROUPS.index(group) if group in GROUPS else len(GROUPS) + (not slow)
        ranks[group] = min(rank, ranks.get(group, rank))
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: [ranks[mark.args[0]] for mark in item.iter_markers("xdist_group")])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a test that must run into a failure."""
    report = yield
    marks = MUST_RUN & {mark.name for mark in item.iter_markers()}
    if report.skipped and marks and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"COACHGYM_MUST_RUN has {', '.join(sorted(marks))}, but: {report.longrepr}"
    return report

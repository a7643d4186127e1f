"""Builds backends for the tests. A test whose backend cannot start on this machine is skipped, with the
reason."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

import conf
from sandbox.base import SandboxError
from sandbox.docker import Docker
from sandbox.local import Local

T = TypeVar("T")


def local(**settings: object) -> Local:
    """Builds a local backend. Raises ``SandboxError``."""
    backend: Local = conf.build("sandbox", conf.load("sandbox", "local", **settings))
    return backend


def docker(**settings: object) -> Docker:
    """Builds a Docker backend. Raises ``SandboxError``."""
    backend: Docker = conf.build("sandbox", conf.load("sandbox", "docker", **settings))
    return backend


def or_skip(build: Callable[[], T]) -> T:
    """Returns what ``build`` returns, or skips the test when it raises ``SandboxError``.

    Where ``COACHGYM_MUST_RUN`` lists what the machine provides, the error is a failure: some backend must
    start.
    """
    try:
        return build()
    except SandboxError as error:
        if os.environ.get("COACHGYM_MUST_RUN"):
            raise
        pytest.skip(f"needs a sandbox that starts here: {error}")


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns once ``condition`` is true. Fails after ``seconds``."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not true after {seconds:g} seconds"
        time.sleep(0.02)

"""Imports libraries before the forks of this process, so that programs do not wait for them. Standard library
only."""

from __future__ import annotations

import gc
import importlib.machinery
import os
import tempfile
from collections.abc import Sequence

import sandbox.guest.probe  # noqa: F401 - for the checks of artifacts, whose programs only call it
from sandbox.guest.start_methods import without_sockets
from sandbox.guest.structure import warm_up


def preload(parts: Sequence[str]) -> None:
    """Imports modules; runs an entry that is not a module name as a program. Raises ``ImportError``."""
    gc.disable()  # imports create almost no garbage, and collecting takes time
    for part in parts:
        if part.replace(".", "").isidentifier():
            importlib.import_module(part)
        else:
            _warm_up(part)
    warm_up()
    without_sockets()
    importlib.machinery.PathFinder.find_spec("no module")  # lists every folder now: later, that may be denied
    tempfile.tempdir = None  # a folder that was chosen before may not exist in the sandbox
    gc.enable()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page of the libraries


def _warm_up(program: str) -> None:
    """Runs a program of the host for its side effects: what libraries import and look up only when used."""
    try:
        exec(compile(program, "<preload>", "exec"), {"__name__": "__main__"})
    except Exception as error:
        raise ImportError(f"a program to warm up: {type(error).__name__}: {error}") from None
    if len(os.listdir("/proc/self/task")) > 1:
        raise ImportError("a program to warm up left threads, which no fork has")

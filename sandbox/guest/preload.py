"""Has ready, in later forks of this process, what programs would else wait for. Standard library only."""

from __future__ import annotations

import gc
import importlib.machinery
import os
import tempfile
from collections.abc import Sequence


def preload(parts: Sequence[str]) -> None:
    """Imports modules, and runs what is no module's name as a program. Raises ``ImportError``."""
    gc.disable()  # of what an import makes next to nothing is garbage, and looking for it takes its time
    for part in parts:
        if part.replace(".", "").isidentifier():
            importlib.import_module(part)
        else:
            _warm_up(part)
    importlib.machinery.PathFinder.find_spec("no module")  # lists every folder now: later that may be denied
    tempfile.tempdir = None  # whoever asked for one before did so outside
    gc.enable()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page of the libraries


def _warm_up(program: str) -> None:
    """Runs a program of the host's for what it leaves behind: what libraries import and look up late."""
    try:
        exec(compile(program, "<preload>", "exec"), {"__name__": "__main__"})
    except Exception as error:
        raise ImportError(f"a program to warm up: {type(error).__name__}: {error}") from None
    if len(os.listdir("/proc/self/task")) > 1:
        raise ImportError("a program to warm up left threads, which no fork has")

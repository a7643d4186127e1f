"""Lets programs start processes by every method of ``multiprocessing``. Standard library only."""

from __future__ import annotations

from multiprocessing import context
from multiprocessing.popen_spawn_posix import Popen as Spawned
from typing import Any


def without_sockets() -> None:
    """Makes ``forkserver`` start its processes as ``spawn`` does, which is slower and otherwise the same: its
    server listens at a socket, and no program may have one."""
    kind: Any = context.ForkServerProcess
    kind._Popen = staticmethod(lambda process: Spawned(process))

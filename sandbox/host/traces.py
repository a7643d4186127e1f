"""What sandboxes have left in the process that opened them and on its machine: for tests, and for long runs
that want to know."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path

from sandbox.base import Backend
from sandbox.guest.processes import descendants
from sandbox.host.owner import FOLDER, folder_owner


def traces(backend: Backend) -> frozenset[str]:
    """What there is, by name: descriptors and threads of this process, processes below it, their folders for
    temporary files; and what the backend's own ``traces``, if it has one, lists that is none of these.

    Compare two: a backend keeps things of its own.
    """
    below = descendants(os.getpid())
    found = {f"thread {thread.name}" for thread in threading.enumerate()}
    found |= {f"process {pid} {name}" for pid in below if (name := _name(pid))}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing
            found.add(f"descriptor {number} of {os.readlink(f'/proc/self/fd/{number}')}")
    found |= {f"folder {path}" for path in folders(below)}
    return frozenset(found | getattr(backend, "traces", frozenset[str])())


def left(backend: Backend, before: frozenset[str], seconds: float = 2.0) -> frozenset[str]:
    """What is new since ``before``, and still there after ``seconds``."""
    until = time.monotonic() + seconds
    while (new := traces(backend) - before) and time.monotonic() < until:
        time.sleep(0.02)
    return new


def folders(launchers: Collection[int]) -> list[Path]:
    """Folders for temporary files of sandboxes that these processes launched: their names tell."""
    numbers = set(map(str, launchers))
    found = Path(tempfile.gettempdir()).glob(f"{FOLDER}*")
    return [path for path in found if _launcher(path.name) in numbers]


def _launcher(folder: str) -> str:
    """Its process id. A number elsewhere in the name, as in the machine's boot id, is none."""
    return folder_owner(folder).rpartition(":")[0].rpartition(":")[2]


def _name(pid: int) -> str:
    """What a process is called; "" for one that has ended."""
    try:
        name, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rsplit(")", 1)
    except OSError:
        return ""
    return "" if state.split()[0] in "ZX" else name

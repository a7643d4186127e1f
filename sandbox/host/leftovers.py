"""What sandboxes leave behind in the process that opened them and on its machine: for tests, and for long
runs that monitor themselves."""

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


def resources(backend: Backend) -> frozenset[str]:
    """Names descriptors and threads of this process, its descendants, their work folders, and what
    ``backend`` holds elsewhere. Compare two snapshots: a backend keeps resources of its own.

    Raises:
        SandboxError: the backend cannot determine what it holds.
    """
    below = descendants(os.getpid())
    names = {f"thread {thread.name}" for thread in threading.enumerate()}
    names |= {f"process {pid} {name}" for pid in below if (name := _name(pid))}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            names.add(f"descriptor {number} of {os.readlink(f'/proc/self/fd/{number}')}")
    names |= {f"folder {path}" for path in work_folders(below)}
    return frozenset(names | backend.resources())


def leftovers(backend: Backend, before: frozenset[str], seconds: float = 2.0) -> frozenset[str]:
    """Returns the resources that are new since ``before``, and still there after ``seconds``."""
    until = time.monotonic() + seconds
    while (new := resources(backend) - before) and time.monotonic() < until:
        time.sleep(0.02)
    return new


def work_folders(launchers: Collection[int]) -> list[Path]:
    """Returns the temporary folders of sandboxes that these processes launched, according to the folders'
    names."""
    numbers = set(map(str, launchers))
    folders = Path(tempfile.gettempdir()).glob(f"{FOLDER}*")
    return [path for path in folders if _launcher(path.name) in numbers]


def _launcher(folder: str) -> str:
    """Returns the process id in a folder's name. Other numbers in it, such as the boot id's, do not count."""
    return folder_owner(folder).rpartition(":")[0].rpartition(":")[2]


def _name(pid: int) -> str:
    """Returns the name of a process; "" for one that has ended."""
    try:
        name, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rsplit(")", 1)
    except OSError:
        return ""
    return "" if state.split()[0] in "ZX" else name

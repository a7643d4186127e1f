"""Ownership labels for resources that may outlive their process: the next start removes those of dead
owners."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "sandbox-"
"""Prefix of the names of work folders."""
SHELF = "libraries-"
"""Prefix of the names of folders with links to libraries."""

WEIGHTS = "weights-"
"""Prefix of the names of folders with weights for engines."""


def here() -> str:
    """Identifies where process ids are valid: this boot of this machine, and this pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"


def owner(pid: int) -> str:
    """Returns the unique label of a process: machine, process id, start time. ``gone`` if there is none, or
    if it has ended and only waits to be reaped."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "gone"
    return "gone" if state in "ZX" else f"{here()}:{pid}:{fields[18]}"


def dead(name: str) -> bool:
    """Returns whether ``name``, which ``owner`` returned once, belongs to a process of this machine that has
    ended."""
    place, _, rest = name.rpartition(":")[0].rpartition(":")
    return place == here() and rest.isdecimal() and name != owner(int(rest))


def folder_prefix(pid: int, kind: str = FOLDER) -> str:
    """Returns the prefix of the folders of a ``kind`` that a process makes. Without colons, which separate
    paths in lists."""
    return f"{kind}{owner(pid).replace(':', '.')}-"


def folder_owner(name: str) -> str:
    """Returns the ``owner`` in a folder's name; for other folders, something that is no process's label."""
    kind = next((kind for kind in (FOLDER, SHELF, WEIGHTS) if name.startswith(kind)), "")
    return name.removeprefix(kind).rpartition("-")[0].replace(".", ":")

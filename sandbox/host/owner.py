"""Whose a container or a folder is that may outlive its maker: how the next start tells the dead from the
living."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "sandbox-"
"""How the names of work folders begin."""


def here() -> str:
    """What process ids mean something in: this machine since it was booted, and this pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"


def owner(pid: int) -> str:
    """What a process shares with no other: machine, process id, start time. ``gone`` if there is none, or it
    has ended and only waits for its parent."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "gone"
    return "gone" if state in "ZX" else f"{here()}:{pid}:{fields[18]}"


def dead(name: str) -> bool:
    """Whether ``name``, once given by ``owner``, is of a process here that has ended."""
    place, _, rest = name.rpartition(":")[0].rpartition(":")
    return place == here() and rest.isdecimal() and name != owner(int(rest))


def folder_prefix(pid: int) -> str:
    """How the name of a folder begins that a process makes. Without colons: lists of paths have them."""
    return f"{FOLDER}{owner(pid).replace(':', '.')}-"


def folder_owner(name: str) -> str:
    """The ``owner`` in a folder's name; of a folder of another kind, what was never anybody's."""
    return name.removeprefix(FOLDER).rpartition("-")[0].replace(".", ":")

"""What the launcher tells the guest, and the rlimits that follow from it. Standard library only."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sandbox.guest.processes import descendants, tasks_of


class Settings(NamedTuple):
    """The limits of one sandbox, and which of them the guest itself has to enforce."""

    work: str
    memory_mb: int
    processes: int
    disk_mb: int
    output_kb: int
    file_mb: int
    idle: float
    lifetime: float
    nproc: str
    """Who else counts towards RLIMIT_NPROC: ``own``: nobody; ``shared``: the user's other processes; ``off``:
    the limit is not set."""
    watch: Sequence[str]
    """What no kernel limit bounds in sum, so that the guest has to measure it: ``memory``, ``disk``, and the
    number of ``files`` on a file system that is the sandbox's own."""


class Confinement(NamedTuple):
    """What a child of the guest gives up before its program runs."""

    enter: Callable[[], None]
    rules: tuple[int, ...] = ()
    """The descriptors that ``enter`` needs."""


UNCONFINED = Confinement(lambda: None)


def set_rlimits(settings: Settings, loaded: int) -> None:
    """Limits this fresh child of the guest. ``loaded`` is the size in bytes of the guest's own address
    space."""
    limits = {
        "AS": loaded + (settings.memory_mb << 20),
        "FSIZE": settings.disk_mb << 20,
        "NOFILE": 256,
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "NICE": 0,
        "RTPRIO": 0,
    }
    if settings.nproc != "off":
        limits["NPROC"] = settings.processes + (1 if settings.nproc == "own" else _others())
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _others() -> int:
    """Returns the number of the user's tasks outside of this child's sandbox, and of the guest: processes of
    sessions do not raise the limit."""
    return tasks_of(os.getuid(), descendants(os.getppid()) - {os.getpid()})

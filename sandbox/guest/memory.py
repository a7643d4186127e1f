"""Measures the memory of all processes below this one, where no kernel limit bounds the sum. Standard library
only.

The kernel's counters of each process are cheap, but count a page that several share in each of them. Where
their sum exceeds the limit, the page tables are walked, which divides such a page among those that share it.
If that takes long, the processes are stopped meanwhile, so that none grows. Shared memory without a file and
parts of huge pages would escape both once they are not mapped any more; ``sandbox.guest.seccomp`` denies
them."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Collection

from sandbox.guest.processes import descendants, signal_each, stop_descendants
from sandbox.guest.seccomp import libc

TICK, SHORTEST = 0.1, 0.02
"""Seconds between two measurements, at most and at least."""
_RATE = 2 << 30
"""Bytes that one processor can fill in a second."""
_SLOW, _STOPPING, _EXECUTING = 0.05, 0.2, 0.01
_COUNTED = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_DIVIDED = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


def tick(limit: int) -> float:
    """Returns the seconds between two measurements: at that rate, processes cannot add much more than
    ``limit`` bytes in between."""
    return max(SHORTEST, min(TICK, limit / (_RATE * len(os.sched_getaffinity(0)))))


def exceeds(limit: int) -> bool:
    """Returns whether the descendants of this process hold more than ``limit`` bytes besides what they
    inherited from it, which counts once for all of them.

    A child of ``vfork`` has its parent's memory until it executes a program, and that would count twice: what
    exceeds the limit is measured again.
    """
    if not _exceed(limit):
        return False
    time.sleep(_EXECUTING)
    return _exceed(limit)


def _exceed(limit: int) -> bool:
    pids = descendants(os.getpid())
    most = limit + held(os.getpid())
    if sum(map(held, pids)) <= most:
        return False
    total = _measure(pids, time.monotonic() + _SLOW)
    if total < 0:
        stopped = stop_descendants(_STOPPING)
        try:
            total = _measure(descendants(os.getpid()))
        finally:
            signal_each(stopped, signal.SIGCONT)
    return total > most


def held(pid: int) -> int:
    """Returns the bytes of a process, without those of files, counting shared ones in full; 0 for one that is
    gone."""
    return _sum(f"/proc/{pid}/status", _COUNTED) or 0


def divided(pid: int) -> int:
    """Returns the bytes of a process, without those of files, counting shared ones in proportion, or in full
    where that cannot be read."""
    return _sum(f"/proc/{pid}/smaps_rollup", _DIVIDED) or held(pid)


def _measure(pids: Collection[int], until: float = float("inf")) -> int:
    """Returns the sum of ``divided``; -1 when it is not known by ``until``."""
    if libc.setfsuid(-1) == os.getuid():  # this call changes nothing
        return _total(pids, until)
    # The kernel shows page tables only to one that opens files as the user that owns the processes.
    read, write = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            try:
                libc.setfsgid(os.getgid())
                libc.setfsuid(os.getuid())
                os.write(write, struct.pack("q", _total(pids, until)))
            finally:
                os._exit(0)
        os.close(write)
        write = -1
        answer = os.read(read, 8)
        os.waitpid(child, 0)
    except OSError:  # no process can be started: what cannot be measured counts in full
        return sum(map(held, pids))
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
    return int(struct.unpack("q", answer)[0])


def _total(pids: Collection[int], until: float) -> int:
    total = 0
    for pid in pids:
        total += divided(pid)
        if time.monotonic() > until:
            return -1
    return total


def _sum(path: str, names: tuple[bytes, ...]) -> int | None:
    """Returns the sum in bytes of lines of a file in /proc; None where there is none."""
    try:
        with open(path, "rb") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith(names))
    except OSError:
        return None

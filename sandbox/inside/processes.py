"""Finds, measures and ends the processes below this one. Standard library only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal


def descendants(root: int, spare: frozenset[int] = frozenset()) -> set[int]:
    """Every process below ``root``, zombies too, but for ``spare`` and what is below those."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    todo = [root]
    while todo:
        below = set(children.get(todo.pop(), ())) - spare
        found.update(below)
        todo += below
    return found


def end_descendants(spare: frozenset[int] = frozenset()) -> None:
    """Kills every process below this one, save ``spare`` and what is below those; reaps nothing.

    Process 1 kills its whole namespace in one call. Anyone else stops everybody first, and kills once a look
    around finds nobody who still runs: killing as one finds them loses against a program that forks faster.
    """
    if os.getpid() == 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return
    seen: set[int] = set()
    while True:
        fresh = descendants(os.getpid(), spare) - seen
        if not fresh:
            break
        _signal_each(fresh, signal.SIGSTOP)
        seen |= fresh
    _signal_each(seen, signal.SIGKILL)


def _signal_each(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def resident(pid: int) -> int:
    """Bytes in memory, those it shares with others in full; 0 for a process that is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def proportional(pid: int, otherwise: int) -> int:
    """Bytes in memory, shared ones in part; costly. ``otherwise`` where that cannot be read."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration):
        return otherwise


def tasks_of(user: int) -> int:
    """Processes and threads that ``user`` runs."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == user:
                    total += os.stat(f"/proc/{name}/task").st_nlink - 2
    return total

"""Finds, measures, stops and ends the processes below this one. Standard library only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable

_STILL = b"TtZXD"
"""States of a thread that runs nothing: stopped, ended, or deep in the kernel."""


def descendants(root: int, spare: frozenset[int] = frozenset()) -> set[int]:
    """Every process below ``root``, zombies too, but for ``spare`` and what is below those."""
    children = _children_of()
    found: set[int] = set()
    todo = [root]
    while todo:
        fresh = children(todo.pop()) - spare - found
        found |= fresh
        todo += fresh
    return found


def _children_of() -> Callable[[int], set[int]]:
    """What tells the children of a process. Where the kernel does not list them: how things stand now."""
    if os.path.exists("/proc/thread-self/children"):
        return _listed_children
    families: dict[int, set[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                parent = int(_content(f"/proc/{name}/stat").rpartition(b")")[2].split()[1])
                families.setdefault(parent, set()).add(int(name))
    return lambda pid: families.get(pid, set())


def _listed_children(pid: int) -> set[int]:
    found: set[int] = set()
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            found.update(map(int, _content(f"{thread}/children").split()))
    return found


def end_descendants(spare: frozenset[int] = frozenset()) -> None:
    """Kills every process below this one, save ``spare`` and what is below those; reaps nothing.

    Process 1 kills its whole namespace in one call, where nobody is spared. Else everybody is stopped first,
    and killed once a look around finds nobody who still runs: killing as one finds them loses against a
    program that forks faster.
    """
    if os.getpid() == 1 and not spare:
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


def end_rest(spare: frozenset[int] = frozenset()) -> None:
    """Ends and reaps all below this process, save ``spare`` and what is below those; nothing is the usual and
    the cheap case. Whoever dies leaves its children to this process, and so to the next round."""
    while True:
        if not spare:
            try:
                if os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            except ChildProcessError:
                return
        rest = _children_of()(os.getpid()) - spare
        if spare and not rest:
            return
        end_descendants(spare)
        for pid in rest:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def stop_descendants(seconds: float) -> None:
    """Stops every process below this one, as far as that can be done in so many seconds."""
    until = time.monotonic() + seconds
    while (moving := running()) and time.monotonic() < until:
        _signal_each(moving, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Lets a process go on, and all that is below it."""
    _signal_each({pid} | descendants(pid), signal.SIGCONT)


def running() -> set[int]:
    """The processes below this one that neither stand still nor are about to end.

    Each is looked at before its children are: once it stands still, it can have no new ones.
    """
    children = _children_of()
    found: set[int] = set()
    seen: set[int] = set()
    todo = [os.getpid()]
    while todo:
        fresh = children(todo.pop()) - seen
        found.update(pid for pid in fresh if not _is_still(pid))
        seen |= fresh
        todo += fresh
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of those of its children that it has waited for; 0 for one that is gone."""
    try:
        own = time.clock_gettime(~pid << 3 | 2)  # how Linux names another process's CPU clock
        of_children = _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()[13:15]
    except OSError:
        return 0.0
    return own + sum(map(int, of_children)) / os.sysconf("SC_CLK_TCK")


def _is_still(pid: int) -> bool:
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            if _content(f"{thread}/stat").rpartition(b")")[2].split()[0] not in _STILL:
                return False
    return True


def _threads(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{name}" for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _content(path: str) -> bytes:
    """A small file of /proc. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while part := os.read(fd, 1 << 16):
            data += part
        return data
    finally:
        os.close(fd)


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


def tasks_of(user: int, without: set[int]) -> int:
    """Processes and threads that ``user`` runs, but for some."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in without:
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == user:
                    total += os.stat(f"/proc/{name}/task").st_nlink - 2
    return total

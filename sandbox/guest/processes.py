"""Finds, measures, stops and ends the processes below this one. Standard library only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable

_STOPPED = b"TtZXD"
"""States of a thread that does not run: stopped, ended, or in uninterruptible sleep."""


def descendants(root: int, spare: frozenset[int] = frozenset()) -> set[int]:
    """Returns every descendant of ``root``, including zombies, without ``spare`` and their descendants."""
    children = _children_of()
    seen: set[int] = set()
    todo = [root]
    while todo:
        new = children(todo.pop()) - spare - seen
        seen |= new
        todo += new
    return seen


def _children_of() -> Callable[[int], set[int]]:
    """Returns a function that lists the children of a process. Where the kernel does not list them, it uses a
    snapshot."""
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
    children: set[int] = set()
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            children.update(map(int, _content(f"{thread}/children").split()))
    return children


def end_descendants(spare: frozenset[int] = frozenset()) -> None:
    """Kills every descendant, except ``spare`` and their descendants; reaps nothing.

    Process 1 kills its whole namespace in one call, unless some are spared. Otherwise all are stopped first,
    and killed once a scan finds no new ones: killing each as it is discovered loses against a program that
    forks faster.
    """
    if os.getpid() == 1 and not spare:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return
    seen: set[int] = set()
    while True:
        new = descendants(os.getpid(), spare) - seen
        if not new:
            break
        signal_each(new, signal.SIGSTOP)
        seen |= new
    signal_each(seen, signal.SIGKILL)


def end_rest(spare: frozenset[int] = frozenset()) -> None:
    """Ends and reaps every descendant, except ``spare`` and their descendants.

    Usually there is none, which is cheap to find out. The children of a process that dies become children of
    this one, and so part of the next round.
    """
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


def stop_descendants(seconds: float) -> set[int]:
    """Stops every descendant, as far as possible within ``seconds``. Returns those that it stopped."""
    until = time.monotonic() + seconds
    stopped: set[int] = set()
    while (active := running()) and time.monotonic() < until:
        signal_each(active, signal.SIGSTOP)
        stopped |= active
    return stopped


def resume(pid: int) -> None:
    """Continues a process and its descendants."""
    signal_each({pid} | descendants(pid), signal.SIGCONT)


def running() -> set[int]:
    """Returns the descendants that are neither stopped nor about to end.

    Checks each before its children: once it is stopped, it cannot have new ones.
    """
    children = _children_of()
    active: set[int] = set()
    seen: set[int] = set()
    todo = [os.getpid()]
    while todo:
        new = children(todo.pop()) - seen
        active.update(pid for pid in new if not _is_stopped(pid))
        seen |= new
        todo += new
    return active


def reaped_seconds() -> float:
    """Returns the CPU time of all processes that this one has waited for, and of those that they had."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process and of the children that it has waited for; 0 for one that is
    gone."""
    try:
        own = time.clock_gettime(~pid << 3 | 2)  # the id of another process's CPU clock on Linux
        of_children = _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()[13:15]
    except OSError:
        return 0.0
    return own + sum(map(int, of_children)) / os.sysconf("SC_CLK_TCK")


def _is_stopped(pid: int) -> bool:
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            if _content(f"{thread}/stat").rpartition(b")")[2].split()[0] not in _STOPPED:
                return False
    return True


def _threads(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{name}" for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _content(path: str) -> bytes:
    """Returns a small file of /proc. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while part := os.read(fd, 1 << 16):
            data += part
        return data
    finally:
        os.close(fd)


def signal_each(pids: set[int], number: signal.Signals) -> None:
    """Sends a signal to those of the processes that still exist."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def tasks_of(user: int, without: set[int]) -> int:
    """Returns the number of processes and threads of ``user``, except those of the processes ``without``."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in without:
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == user:
                    total += os.stat(f"/proc/{name}/task").st_nlink - 2
    return total

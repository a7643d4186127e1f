"""Users of sandboxes. The kernel counts processes, pending signals, watches and the memory of pipes per user:
each open sandbox has a uid that no other one has, so that none can use up what another needs.

Fork servers import this module: it imports nothing that programs must not find loaded."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FRESH = 128
"""A uid is not given again before so many others were."""
BLOCK = 2048
"""Uids of one process, where there are enough for each to have its own."""
_FIRST = 1 << 30
_BLOCKS = 1 << 19  # up to 2 ** 31, the most that Docker takes
_SHARED, _SHARED_SIZE = 20000, 40000


class Users:
    """Gives the uids from ``first`` to ``first + size`` in turn, beginning with ``first + start``.
    Thread-safe."""

    def __init__(self, first: int, size: int, start: int = 0) -> None:
        self._first, self._size, self._next = first, size, start
        self._lock = threading.Lock()
        self._taken: set[int] = set()

    def take(self) -> int:
        """Returns a uid that is not taken. Raises ``OSError`` when too many are."""
        with self._lock:
            if len(self._taken) > self._size - FRESH - 1:
                raise OSError(errno.EUSERS, f"{len(self._taken)} sandboxes are open: no more users are left")
            while (user := self._first + self._next % self._size) in self._taken:
                self._next += 1
            self._next += 1
            self._taken.add(user)
            return user

    def release(self, user: int) -> None:
        """Must be called once nothing runs as ``user`` any more. Safe to call twice."""
        with self._lock:
            self._taken.discard(user)


def block(pid: int) -> int:
    """Returns the first of the uids of a process."""
    return _FIRST + pid % _BLOCKS * BLOCK


def users(ranges: Iterable[tuple[int, int]] = ((0, 1 << 32),)) -> Users:
    """Returns the users of this process, where uids in ``ranges``, first and count, exist."""
    first = block(os.getpid())
    if any(start <= first and first + BLOCK <= start + count for start, count in ranges):
        return _users(os.getpid(), first, BLOCK, 0)
    return _users(os.getpid(), _SHARED, _SHARED_SIZE, os.getpid() * BLOCK % _SHARED_SIZE)


@cache
def _users(pid: int, first: int, size: int, start: int) -> Users:
    return Users(first, size, start)


def local_users() -> Users | None:
    """Returns the users of this process on this machine; None where only root may choose one."""
    if os.geteuid():
        return None
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return users((int(first), int(count)) for first, _, count in map(str.split, lines))

"""Landlock: a process gives up, for itself and its descendants, access to files and sockets that it does not
need.

Requires no privilege. Available since Linux 5.13; before 6.2 it did not prevent truncation. Since 6.7 it has
rules for TCP, and since 6.12 it confines signals and abstract sockets. It does not protect files' modes,
owners, times and attributes (``sandbox.guest.seccomp.filter_on_host`` does), nor hide whether files exist.
Standard library only."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping

from sandbox.guest.seccomp import PR_SET_NO_NEW_PRIVS, libc

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_MAKE = (
    1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13
)  # remove and make: folders, files, links; rename
_ON_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | 1 << 15
NEEDED = 3
"""The lowest ABI that protects files against every change of their content."""
LIST = _LIST
READ = _READ | _LIST
LOAD = READ | _EXECUTE
CHANGE = READ | _WRITE | _TRUNCATE | _MAKE
DEVICE = _READ | _WRITE


def version() -> int:
    """Returns the kernel's Landlock ABI; 0 where there is none."""
    return max(0, int(libc.syscall(_CREATE, None, 0, 1)))


def ruleset(rights: Mapping[str, int]) -> int:
    """Returns a descriptor of a ruleset that allows only ``rights``: path -> rights to it and everything
    below.

    Raises ``OSError``.
    """
    abi = version()
    handled = (1 << {0: 0, 1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    attributes = struct.pack("=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules_fd = _check(libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0))
    for path, allowed in rights.items():
        allowed &= handled if os.path.isdir(path) else handled & _ON_FILES
        fd = os.open(path, os.O_PATH)
        try:
            _check(libc.syscall(_ADD, rules_fd, 1, struct.pack("=Qi", allowed, fd), 0))
        finally:
            os.close(fd)
    os.set_inheritable(rules_fd, False)
    return rules_fd


def restrict(rules_fd: int) -> None:
    """Applies a ruleset to this process and its later descendants. Raises ``OSError``."""
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.syscall(_RESTRICT, rules_fd, 0))


def _check(value: int) -> int:
    if value < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return value

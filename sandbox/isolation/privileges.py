"""Users and capabilities of guests."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sandbox.guest.seccomp import libc
from sandbox.isolation.namespaces import check, enter_root
from sandbox.isolation.view import View

_PR_CAPBSET_DROP, _PR_SET_SECUREBITS = 24, 28


def drop_rights(user: int, files_as: int) -> None:
    """Becomes ``user`` irrevocably, without a single capability; files are opened as ``files_as``.

    Raises ``OSError``.
    """
    if os.geteuid() == 0:
        check(
            "securebits", libc.prctl(_PR_SET_SECUREBITS, 1 << 2, 0, 0, 0)
        )  # keeps the capabilities that the last lines need
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        libc.setfsgid(files_as)
        libc.setfsuid(files_as)
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
    check("capset", libc.capset(header, bytes(24)))


def run_as(user: int, libraries: Sequence[str], command: list[str]) -> NoReturn:
    """Executes a program as ``user``; requires root. Raises ``OSError``.

    Where the Python that runs here lies in folders closed to such a user, as below /root, the program gets a
    root of its own that shows it and the ``libraries``.
    """
    if not readable_by_all():
        enter_root(View(libraries), command[0])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execv(command[0], command)


def readable_by_all() -> bool:
    """Returns whether a user without any privileges could read the Python that runs here."""
    for path in filter(os.path.exists, {os.path.realpath(sys.executable), *sys.path}):
        for part in (Path(path), *Path(path).parents):
            if not stat.S_IMODE(part.stat().st_mode) & 0o001:
                return False
    return True

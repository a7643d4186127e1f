"""Landlock rules of guests. In mode ``landlock`` they are the only isolation of files and need no privilege:
they name what Python reads, and deny everything else. In the other modes they come on top."""

from __future__ import annotations

import os

from sandbox.guest.landlock import CHANGE, DEVICE, LOAD, READ, ruleset
from sandbox.isolation.view import DEVICES, WORK, hidden, temporary, visible, without


def rules_in_root(processes: int) -> int:
    """Returns the Landlock ruleset of a guest in a root of its own, after ``mount_guest``. ``processes``: its
    rights to /proc.

    A program that could write there could make itself the last that the OOM killer takes.
    """
    return ruleset(
        {
            "/": LOAD,
            WORK: CHANGE,
            temporary(): CHANGE,
            "/proc": processes,
            **dict.fromkeys(DEVICES, DEVICE),
        }
    )


def rules_on_host(work: str, processes: bool) -> int:
    """Returns the Landlock ruleset of a guest that sees the machine's own files. ``processes``: it may read
    /proc."""
    excluded = hidden()
    rules = {part: LOAD for path in visible() for part in without(os.path.realpath(path), excluded)}
    rules |= {work: CHANGE, **dict.fromkeys(DEVICES, DEVICE)}
    return ruleset(rules | ({"/proc": READ | DEVICE} if processes else {}))

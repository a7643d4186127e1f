"""The record of an attack, and what its programs can use."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.base import Status

PREAMBLE = """
import ctypes, os, signal, sys, time
def attempt(what, action):
    try:
        result = action()
    except (OSError, ValueError, MemoryError):
        return
    if result != -1:
        print("BREACH", what, result, flush=True)
def forks():
    try:
        return os.fork() == 0
    except OSError:
        return False
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return libc.syscall(ctypes.c_long(number), *wide)
"""


PATIENT = 120.0
"""Seconds for what needs a fraction of one, unless the machine is busy with something else."""


@dataclass(frozen=True)
class Attack:
    """A program, the statuses with which it may end in a secure sandbox, and its timeout in seconds."""

    code: str
    ends: tuple[Status, ...] = ("ok",)
    timeout: float = PATIENT
    then: str = ""
    """The next program, in the same sandbox: it must succeed and print nothing."""
    preload: tuple[str, ...] = ()
    """What the sandbox imports or runs before, as in ``SandboxSpec``."""


STOPPED: tuple[Status, ...] = ("error", "killed")
ENDLESS: tuple[Status, ...] = ("timeout", "killed")
ANY: tuple[Status, ...] = ("ok", "error", "timeout", "killed", "output_limit")

"""Seccomp: the system calls that programs in a sandbox do not need, and the filters that deny them. Standard
library only.

Every backend uses the same filter for all of a sandbox's processes, and one more for its programs; mode
``landlock`` adds one for what a program shares with the machine there."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable

from sandbox.guest.system_calls import DENIED, NOT_OURS, NUMBERS, UNDONE

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_THP_DISABLE = 22, 38, 41
libc = ctypes.CDLL(None, use_errno=True)

_MACHINE = platform.machine()
SYSTEM_CALLS = NUMBERS.get(_MACHINE, {})
"""Names and numbers on this machine; empty on an unknown architecture."""
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_SHARED_ANONYMOUS = 0x21  # MAP_ANONYMOUS, and the bit that MAP_SHARED and MAP_SHARED_VALIDATE have in common
# Their first argument names a process, 0 the caller: changes to the guest would outlast a program.
_ON_ITSELF = ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity")
IOCTLS = {"TCGETS": 0x5401, "TIOCGWINSZ": 0x5413, "FIONREAD": 0x541B, "FIONBIO": 0x5421, "FIOCLEX": 0x5451,
          "FIONCLEX": 0x5450}  # fmt: skip
"""The only ioctls: Landlock sees none of those that change files and file systems."""
FCNTLS = {
    "F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_SETFL": 4, "F_GETLK": 5, "F_SETLK": 6,
    "F_SETLKW": 7, "F_OFD_GETLK": 36, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38, "F_DUPFD_QUERY": 1027,
    "F_DUPFD_CLOEXEC": 1030, "F_SETPIPE_SZ": 1031, "F_GETPIPE_SZ": 1032, "F_GET_SEALS": 1034,
}  # fmt: skip
"""The only commands of fcntl: no leases, which make other processes wait, and no signals."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
ALLOW, KILL, DONE = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOTTY, ENOSYS = DONE + 1, DONE + 25, DONE + 38
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND, _FOURTH = 0, 4, 16, 24, 40  # offsets of the call and its arguments
Line = tuple[int, int, int, int]
_LINE = struct.calcsize("HBBI")


def filter_system_calls() -> None:
    """Denies system calls that no program needs, and huge pages, to this process and all its later children.
    Raises ``OSError``."""
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    _install(_OF_ALL)


def filter_program() -> None:
    """Keeps this program, which leads a session, and its later children in that session. Raises ``OSError``.

    The scheduler gives each session the same share of a processor: a program that starts many would take
    the other sandboxes' shares.
    """
    _install(_OF_PROGRAMS)


def filter_on_host() -> None:
    """Denies in addition what Landlock does not, to a program that shares files and processes with the
    machine.

    It may signal only itself, identified by process id, which its children do not share. Raises ``OSError``.
    """
    _install(_assembled(rules_on_host(_MACHINE, os.getpid())))


def rules(machine: str) -> list[Line]:
    """Returns the filter of all processes of a sandbox on an architecture, as BPF."""
    call = NUMBERS.get(machine, {})
    code = _answer(call, DENIED, EPERM)
    # clone3 passes its flags by pointer; on ENOSYS, libc falls back to clone, whose flags can be checked
    code += _answer(call, ["clone3"], ENOSYS)
    code += [(_EQUAL, 0, 4, call.get("clone", 0)), (_LOAD, 0, 0, _FIRST)]
    code += [(_ANY_BIT, 0, 1, _NAMESPACE_FLAGS), (_RETURN, 0, 0, EPERM), (_LOAD, 0, 0, _NUMBER)]
    for name in _ON_ITSELF:
        code += _only(call, name, _FIRST, [0])
    for argument in (_FIRST, _SECOND):
        code += _only(call, "setpriority", argument, [0])  # PRIO_PROCESS, of itself
    code += _only(call, "ioprio_set", _FIRST, [1]) + _only(call, "ioprio_set", _SECOND, [0])  # of itself
    # allow only kinds of connected pairs that can never send to other sockets: a pair of datagram sockets
    # could, and so reach every datagram socket of the machine that is not hidden
    code += _only(call, "socketpair", _FIRST, [1])
    code += _only(call, "socketpair", _SECOND, [1, 5], mask=0xF)
    code += _only(call, "ioctl", _SECOND, IOCTLS.values(), ENOTTY)
    code += _only(call, "fcntl", _SECOND, FCNTLS.values())
    # memory that the kernel keeps where it is not mapped any more: what processes share without a file, and
    # the rest of a huge page
    code += _never(call, "mmap", _FOURTH, _SHARED_ANONYMOUS, _SHARED_ANONYMOUS)
    code += _never(call, "prctl", _FIRST, PR_SET_THP_DISABLE)
    return _program(machine, code)


def rules_of_program(machine: str) -> list[Line]:
    """Returns the additional filter of programs, as BPF."""
    return _program(machine, _answer(NUMBERS.get(machine, {}), ["setsid"], DONE))


def rules_on_host(machine: str, pid: int) -> list[Line]:
    """Returns the additional filter of a program with this process id in mode ``landlock``, as BPF."""
    call = NUMBERS.get(machine, {})
    code = _answer(call, UNDONE, DONE) + _answer(call, NOT_OURS, EPERM)
    return _program(machine, code + _only(call, "kill", _FIRST, [pid]) + _only(call, "tgkill", _FIRST, [pid]))


def _answer(call: dict[str, int], names: Iterable[str], action: int) -> list[Line]:
    """Answers every call of these names with ``action``; some exist on one architecture only."""
    numbers = [call[name] for name in names if name in call]
    return [line for number in numbers for line in ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, action))]


def _only(
    call: dict[str, int], name: str, argument: int, values: Iterable[int], action: int = EPERM, mask: int = 0
) -> list[Line]:
    """Answers a call with ``action`` unless the low half of an argument, or ``mask`` of it, is one of
    ``values``. The kernel reads the low half only, too."""
    allowed = list(values)
    body = [(_LOAD, 0, 0, argument)] + [(_AND, 0, 0, mask)] * bool(mask)
    body += [(_EQUAL, len(allowed) - index, 0, value) for index, value in enumerate(allowed)]
    body += [(_RETURN, 0, 0, action), (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, len(body), call.get(name, 0)), *body]


def _never(call: dict[str, int], name: str, argument: int, value: int, mask: int = 0xFFFFFFFF) -> list[Line]:
    """Denies a call if ``mask`` of the low half of an argument is ``value``."""
    body = [(_LOAD, 0, 0, argument), (_AND, 0, 0, mask), (_EQUAL, 0, 1, value), (_RETURN, 0, 0, EPERM)]
    return [(_EQUAL, 0, len(body) + 1, call.get(name, 0)), *body, (_LOAD, 0, 0, _NUMBER)]


def _program(machine: str, code: list[Line]) -> list[Line]:
    before = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES.get(machine, 0)),
        (_RETURN, 0, 0, KILL),
    ]
    # calls of the x32 ABI have other numbers
    before += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, EPERM)]
    return [*before, *code, (_RETURN, 0, 0, ALLOW)]


def _assembled(lines: list[Line]) -> bytes:
    return b"".join(struct.pack("HBBI", *line) for line in lines)


_OF_ALL, _OF_PROGRAMS = _assembled(rules(_MACHINE)), _assembled(rules_of_program(_MACHINE))
"""Assembled before any fork: a child would not only do it again, but copy the memory that it needs for it."""


def _install(table: bytes) -> None:
    if not SYSTEM_CALLS:
        raise OSError(f"no table of system calls for {_MACHINE}")
    program = struct.pack("HL", len(table) // _LINE, _address(table))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

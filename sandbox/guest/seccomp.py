"""Seccomp: the system calls that programs in a sandbox do not need, and the filters that deny them. Standard
library only."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
libc = ctypes.CDLL(None, use_errno=True)

_X86_64, _AARCH64 = 0xC000003E, 0xC00000B7
_NEW = {  # the same number on every architecture
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "fsopen": 430,
    "move_mount": 429, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438,
    "mount_setattr": 442, "memfd_secret": 447, "open_tree_attr": 467,
}  # fmt: skip
_TABLES: dict[str, dict[str, int]] = {
    # No sockets; no memory that outlives a process or is not charged to it (SysV, queues, memfd, huge pages
    # held by a pipe); no new namespaces or mounts; no access to other processes; no interfaces with a history
    # of escapes.
    "x86_64": {
        "socket": 41, "connect": 42, "bind": 49, "listen": 50, "vmsplice": 278,
        "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240,
        "memfd_create": 319, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
        "chroot": 161, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "personality": 135, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "add_key": 248,
        "request_key": 249, "keyctl": 250, "init_module": 175, "finit_module": 313, "kexec_load": 246,
        "kexec_file_load": 320, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
        "syslog": 103, "quotactl": 179, **_NEW,
    },
    "aarch64": {
        "socket": 198, "connect": 203, "bind": 200, "listen": 201, "vmsplice": 75,
        "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "mq_open": 180,
        "memfd_create": 279, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41,
        "chroot": 51, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "personality": 92, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "add_key": 217,
        "request_key": 218, "keyctl": 219, "init_module": 105, "finit_module": 273, "kexec_load": 104,
        "kexec_file_load": 294, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "syslog": 116, "quotactl": 60, **_NEW,
    },
}  # fmt: skip
_SPECIAL = {
    "x86_64": {
        "clone": 56, "prlimit64": 302, "clone3": 435, "kill": 62, "tgkill": 234, "ioctl": 16,
        "socketpair": 53, "setpriority": 141, "ioprio_set": 251, "sched_setparam": 142,
        "sched_setscheduler": 144, "sched_setaffinity": 203, "sched_setattr": 314,
    },
    "aarch64": {
        "clone": 220, "prlimit64": 261, "clone3": 435, "kill": 129, "tgkill": 131, "ioctl": 29,
        "socketpair": 199, "setpriority": 140, "ioprio_set": 30, "sched_setparam": 118,
        "sched_setscheduler": 119, "sched_setaffinity": 122, "sched_setattr": 274,
    },
}  # fmt: skip
# Their first argument names a process, 0 the caller: changes to the guest would outlast a program.
_ON_ITSELF = ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr")
# What Landlock does not restrict on files and processes that are shared with the machine. Changes of a file's
# mode, owner, times and attributes are not made but reported as successful, because copying a file makes
# some.
_UNDONE = {
    "x86_64": (
        90,
        91,
        268,
        452,
        92,
        93,
        94,
        260,
        188,
        189,
        190,
        197,
        198,
        199,
        463,
        466,
        132,
        235,
        261,
        280,
        469,
    ),
    "aarch64": (52, 53, 452, 54, 55, 5, 6, 7, 14, 15, 16, 463, 466, 88, 469),
}  # chmod, chown, setxattr, removexattr, utime and all their variants
_NOT_OURS = {
    "x86_64": (253, 254, 294, 141, 203, 144, 142, 314, 251, 256, 279, 129, 297, 424, 200),
    "aarch64": (27, 26, 140, 122, 119, 118, 274, 30, 238, 239, 138, 240, 424, 130),
}  # inotify, setpriority, sched_set*, ioprio_set, migrate_pages, move_pages; signals, except the two below
_SET_FLAGS, _SET_ATTRIBUTES = 0x40086602, 0x401C5820  # ioctl on an open file

_MACHINE = platform.machine()
_DENIED = _TABLES.get(_MACHINE, {})
SYSTEM_CALLS = {**_DENIED, **_SPECIAL.get(_MACHINE, {})}
"""Names and numbers on this machine; empty on an unknown architecture. The aarch64 table is untested."""
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_ALLOW, _KILL, _DONE, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000, 0x00050001, 0x00050026
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets of the call and its arguments
_Line = tuple[int, int, int, int]


def filter_system_calls() -> None:
    """Denies system calls that no program needs, to this process and all its later children. Raises
    ``OSError``."""
    call = SYSTEM_CALLS
    code = [line for number in _DENIED.values() for line in _return(number, _EPERM)]
    # clone3 passes its flags by pointer; on ENOSYS, libc falls back to clone, whose flags can be checked
    code += _return(call.get("clone3", 0), _ENOSYS)
    code += [(_EQUAL, 0, 4, call.get("clone", 0)), (_LOAD, 0, 0, _FIRST)]
    code += [(_ANY_BIT, 0, 1, _NAMESPACE_FLAGS), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, _NUMBER)]
    for name in _ON_ITSELF:
        code += _only(name, _FIRST, 0)
    code += _only("setpriority", _FIRST, 0) + _only("setpriority", _SECOND, 0)  # PRIO_PROCESS, of itself
    code += _only("ioprio_set", _FIRST, 1) + _only("ioprio_set", _SECOND, 0)  # IOPRIO_WHO_PROCESS, of itself
    # allow only kinds of connected pairs that can never send to other sockets: a pair of datagram sockets
    # could, and so reach every datagram socket of the machine that is not hidden
    code += _only("socketpair", _FIRST, 1)
    code += [(_EQUAL, 0, 6, call.get("socketpair", 0)), (_LOAD, 0, 0, _SECOND), (_AND, 0, 0, 0xF)]
    code += [(_EQUAL, 2, 0, 1), (_EQUAL, 1, 0, 5), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, _NUMBER)]
    _install(code)


def filter_on_host() -> None:
    """Denies in addition what Landlock does not, to a program that shares files and processes with the
    machine.

    It may signal only itself, identified by process id, which its children do not share. Raises ``OSError``.
    """
    code = [line for number in _UNDONE.get(_MACHINE, ()) for line in _return(number, _DONE)]
    code += [line for number in _NOT_OURS.get(_MACHINE, ()) for line in _return(number, _EPERM)]
    code += _only("kill", _FIRST, os.getpid()) + _only("tgkill", _FIRST, os.getpid())
    code += [(_EQUAL, 0, 4, SYSTEM_CALLS.get("ioctl", 0)), (_LOAD, 0, 0, _SECOND)]
    code += [(_EQUAL, 1, 0, _SET_FLAGS), (_EQUAL, 0, 1, _SET_ATTRIBUTES), (_RETURN, 0, 0, _EPERM)]
    _install(code)


def _return(number: int, action: int) -> list[_Line]:
    return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, action)]


def _only(name: str, argument: int, value: int) -> list[_Line]:
    """Denies a call unless the low half of an argument is ``value``."""
    number = SYSTEM_CALLS.get(name, 0)
    checked = [(_EQUAL, 1, 0, value), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, argument), *checked]


def _install(code: list[_Line]) -> None:
    if not SYSTEM_CALLS:
        raise OSError(f"no table of system calls for {_MACHINE}")
    arch = _X86_64 if _MACHINE == "x86_64" else _AARCH64
    before = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    before += [
        (_AT_LEAST, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _EPERM),
    ]  # calls of the x32 ABI have other numbers
    lines = [*before, *code, (_RETURN, 0, 0, _ALLOW)]
    table = b"".join(struct.pack("HBBI", *line) for line in lines)
    program = struct.pack("HL", len(lines), _address(table))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

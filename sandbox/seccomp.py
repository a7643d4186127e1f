"""The system calls that code in a sandbox has no use for, and the filter that denies them. Standard library
only."""

from __future__ import annotations

import ctypes
import platform
import struct

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
libc = ctypes.CDLL(None, use_errno=True)

_X86_64, _AARCH64 = 0xC000003E, 0xC00000B7
_NEW = {  # one number on every architecture
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "fsopen": 430,
    "move_mount": 429, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438,
    "mount_setattr": 442, "memfd_secret": 447,
}  # fmt: skip
_TABLES: dict[str, dict[str, int]] = {
    # No sockets; no memory that outlives a process or is not counted as its own (SysV, message queues, memfd);
    # no new namespaces or mounts; no look into other processes; no interfaces with a history of escapes.
    "x86_64": {
        "socket": 41, "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240,
        "memfd_create": 319, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
        "chroot": 161, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "personality": 135, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "add_key": 248,
        "request_key": 249, "keyctl": 250, "init_module": 175, "finit_module": 313, "kexec_load": 246,
        "kexec_file_load": 320, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
        "syslog": 103, "quotactl": 179, **_NEW,
    },
    "aarch64": {
        "socket": 198, "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "mq_open": 180,
        "memfd_create": 279, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41,
        "chroot": 51, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "personality": 92, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "add_key": 217,
        "request_key": 218, "keyctl": 219, "init_module": 105, "finit_module": 273, "kexec_load": 104,
        "kexec_file_load": 294, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "syslog": 116, "quotactl": 60, **_NEW,
    },
}  # fmt: skip
_SPECIAL = {
    "x86_64": {"clone": 56, "prlimit64": 302, "clone3": 435},
    "aarch64": {"clone": 220, "prlimit64": 261, "clone3": 435},
}
_DENIED = _TABLES.get(platform.machine(), {})
SYSTEM_CALLS = {**_DENIED, **_SPECIAL.get(platform.machine(), {})}
"""Names and numbers on this machine; empty on one whose table we lack. The aarch64 table is untested."""
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET


def filter_system_calls() -> None:
    """Installs the filter on this process and all its later children. Raises ``OSError``."""
    if not SYSTEM_CALLS:
        raise OSError(f"no table of system calls for {platform.machine()}")
    load, jeq, jge, jset, ret = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, eperm, enosys = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
    arch = _X86_64 if platform.machine() == "x86_64" else _AARCH64
    call = SYSTEM_CALLS
    code = [(load, 0, 0, 4), (jeq, 1, 0, arch), (ret, 0, 0, kill), (load, 0, 0, 0)]
    code += [(jge, 0, 1, 0x40000000), (ret, 0, 0, eperm)]  # the x32 table would go round the numbers below
    for number in _DENIED.values():
        code += [(jeq, 0, 1, number), (ret, 0, 0, eperm)]
    # clone3 hides its flags behind a pointer; libc takes ENOSYS as "use clone", whose flags can be read
    code += [(jeq, 0, 1, call["clone3"]), (ret, 0, 0, enosys)]
    code += [(jeq, 0, 3, call["clone"]), (load, 0, 0, 16), (jset, 0, 1, _NAMESPACE_FLAGS), (ret, 0, 0, eperm)]
    code += [(load, 0, 0, 0), (jeq, 0, 3, call["prlimit64"]), (load, 0, 0, 16)]
    code += [(jeq, 1, 0, 0), (ret, 0, 0, eperm)]  # only one's own limits
    code += [(ret, 0, 0, allow)]
    table = b"".join(struct.pack("HBBI", *line) for line in code)
    program = struct.pack("HL", len(code), _address(table))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

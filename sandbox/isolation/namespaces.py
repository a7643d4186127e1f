"""Mode ``namespaces``: moves processes into a root, mounts, processes, network, IPC and host name of their
own.

The launcher moves into a root that has only what Python reads; each guest then gets its own mounts and
namespaces, and an unused uid when we are root. Requires root, or a kernel that lets users make user
namespaces.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from sandbox.guest.seccomp import SYSTEM_CALLS, libc
from sandbox.isolation.view import DEVICES, WORK, View

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_MOUNT_SETATTR = 442  # the same number on every architecture


def enter_root(view: View, *also: str) -> None:
    """Moves this process into a fresh read-only root that shows what ``view`` and the files ``also`` are.
    Raises ``OSError``."""
    _unshare(_NEWNS)
    _mount("none", "/", "", _SLAVE | _REC)
    new = "/sys"  # any folder that always exists and from which Python reads nothing
    _mount("tmpfs", new, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m,nr_inodes=4096")
    for path, link in (dict.fromkeys(also) | view.shown()).items():
        os.makedirs(os.path.dirname(new + path), exist_ok=True)
        if link is None:
            _bind(path, new)
            _protect(new + path)
        else:
            os.symlink(link, new + path)
    os.mkdir(f"{new}/nothing", 0o555)
    for path, inside in view.masked().items():
        if not inside:
            _mount(f"{new}/nothing", new + path, "", _BIND)
            continue
        _mount("tmpfs", new + path, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m,nr_inodes=4096")
        for library in inside:
            os.makedirs(os.path.dirname(new + library), exist_ok=True)
            _bind(library, new)
        _protect(new + path)
    os.mkdir(f"{new}/dev")
    for device in DEVICES:
        _bind(device, new)
    for name in ("/proc", "/tmp", WORK):
        os.makedirs(new + name, exist_ok=True)
    os.symlink(view.temporary(), f"{new}/dev/shm")
    _mount("/proc", f"{new}/proc", "", _BIND | _REC)
    os.chdir(new)
    check("pivot_root", libc.syscall(SYSTEM_CALLS["pivot_root"], b".", b"."))
    check("umount", libc.umount2(b".", 2))
    os.chdir("/")
    _mount("none", "/", "", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _bind(path: str, new: str) -> None:
    if os.path.isdir(path):
        os.makedirs(new + path, exist_ok=True)
    else:
        Path(new + path).touch()
    _mount(path, new + path, "", _BIND | _REC)


def _protect(path: str) -> None:
    """Makes a mount, and all below it, read-only, without setuid and devices."""
    wanted = (1 | 2 | 4).to_bytes(8, sys.byteorder) + bytes(24)
    check("mount_setattr", libc.syscall(_MOUNT_SETATTR, -100, path.encode(), 0x8000, wanted, 32))


def fork_guest() -> int:
    """Forks; the child is process 1 of namespaces of its own. Returns as ``os.fork``. Raises ``OSError``.

    Uses the bare system call: after ``unshare``, only a second child would be in the pid namespace, and with
    large libraries loaded a fork is most of what a sandbox costs.
    """
    user = _NEWUSER if os.geteuid() else 0
    flags = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | user | signal.SIGCHLD
    owner = (os.geteuid(), os.getegid())
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(ctypes.PyDLL(None, use_errno=True).syscall(SYSTEM_CALLS["clone"], flags, 0, 0, 0, 0))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        if user:
            _map_user(*owner)
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        check("clone", pid)
    return pid


def mount_guest(disk_mb: int, owner: int, temporary: str) -> None:
    """Gives a guest, after ``fork_guest``, its own ``WORK``, folder for temporary files and /proc. Raises
    ``OSError``."""
    _mount("none", "/", "", _SLAVE | _REC)
    for path, size in {temporary: max(1, disk_mb // 4), WORK: disk_mb}.items():
        options = f"size={size}m,nr_inodes=4096,mode=700,uid={owner},gid={owner}"
        _mount("tmpfs", path, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC, "subset=pid")
    check("sethostname", libc.sethostname(b"sandbox", 7))


def _unshare(flags: int) -> None:
    owner = (os.geteuid(), os.getegid())
    check("unshare", libc.unshare(flags | (_NEWUSER if owner[0] else 0)))
    if owner[0]:
        _map_user(*owner)


def _map_user(user: int, group: int) -> None:
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(line)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    check(f"mount {target}", result)


def check(what: str, result: int) -> None:
    """Raises ``OSError`` for the negative result of a C function."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

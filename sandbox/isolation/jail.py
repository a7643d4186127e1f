"""Puts a process where it sees a Python installation, an empty work folder, and nothing else of the machine.

Two ways, each with Landlock and the system call filter on top:

- ``namespaces``: the launcher moves into a root of its own that holds what Python reads, and nothing else;
  each guest gets its own mounts, processes, network, IPC and host name, and an unused uid when we are root.
  Needs root, or a kernel that lets users make user namespaces.
- ``landlock``: no privilege at all. The rules name what Python reads; everything else of the machine is
  denied."""

from __future__ import annotations

import ctypes
import os
import signal
import site
import stat
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from sandbox.guest.landlock import CHANGE, DEVICE, LOAD, READ, ruleset
from sandbox.guest.seccomp import SYSTEM_CALLS, libc

OURS = ("sandbox", "envs", "coaches", "learners", "benchmarks", "conf", "tests")
"""Never visible inside: answers lie among them, also where they are installed."""

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_MOUNT_SETATTR = 442  # the same number on every architecture
_PR_CAPBSET_DROP, _PR_SET_SECUREBITS = 24, 28
WORK = "/episode"
"""Where a guest with a root of its own works: a name that no installation of Python lies below."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


def visible() -> list[str]:
    """The files and folders that Python needs to run and to import what is installed."""
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    paths |= {path for path in sys.path if path == site.getusersitepackages()}
    paths |= {sys.executable, os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg"}
    paths |= {str(path) for path in Path(sys.base_prefix, "lib").glob("libpython*")}
    paths |= {
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
        "/etc/localtime",
        "/etc/ld.so.cache",
    }
    return sorted(path for path in paths if os.path.exists(path))


def hidden() -> list[str]:
    """Folders below ``visible`` ones that hold our own packages."""
    roots = {*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[2])}
    return sorted(path for root in roots for name in OURS if os.path.isdir(path := f"{root}/{name}"))


def shown() -> dict[str, str | None]:
    """What a root of its own holds: path -> None, or, for a link, its target, which is held too."""
    found: dict[str, str | None] = {}
    for path in visible():
        while not _holder(found, path):
            found[path] = os.readlink(path) if os.path.islink(path) else None
            path = os.path.normpath(os.path.join(os.path.dirname(path), found[path] or path))
    return {path: link for path, link in found.items() if not _holder(found, os.path.dirname(path))}


def masked() -> list[str]:
    """The ``hidden`` folders that ``shown`` would show, each by a path in it that has no link."""
    found, paths = shown(), hidden()
    places = {_place(found, path) for path in (*paths, *map(os.path.realpath, paths))}
    return sorted(place for place in places if place)


def _holder(found: Mapping[str, str | None], path: str) -> str | None:
    """The path in ``found`` that shows ``path``: itself, or a folder above it."""
    return next((part for part in (path, *map(str, Path(path).parents)) if part in found), None)


def _place(found: Mapping[str, str | None], path: str) -> str | None:
    """Where ``path`` lies in a root that shows ``found``; None where it does not, or behind another link."""
    holder = _holder(found, path)
    if holder is None:
        return None
    link, rest = found[holder], path[len(holder) :]
    if link is not None:
        return _place(found, os.path.normpath(os.path.join(os.path.dirname(holder), link)) + rest)
    return path if os.path.realpath(path) == os.path.realpath(holder) + rest else None


def _without(path: str, excluded: list[str]) -> Iterator[str]:
    """``path``, or instead what lies in it, so that nothing in ``excluded`` is below a path given back."""
    if path in excluded:
        return
    if any(other.startswith(path + "/") for other in excluded):
        for name in os.listdir(path):
            yield from _without(f"{path}/{name}", excluded)
    else:
        yield path


# ---- namespaces
# -----------------------------------------------------------------------------------------------


def enter_root(*also: str) -> None:
    """Moves this process into a fresh read-only root that shows ``visible`` and the files ``also``, and hides
    ``hidden``. Raises ``OSError``."""
    _unshare(_NEWNS)
    _mount("none", "/", "", _SLAVE | _REC)
    new = "/sys"  # any folder that is always there and that Python reads nothing from
    _mount("tmpfs", new, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m,nr_inodes=4096")
    for path, link in (dict.fromkeys(also) | shown()).items():
        os.makedirs(os.path.dirname(new + path), exist_ok=True)
        if link is None:
            _bind(path, new)
            _protect(new + path)
        else:
            os.symlink(link, new + path)
    os.mkdir(f"{new}/nothing", 0o555)
    for path in masked():
        _mount(f"{new}/nothing", new + path, "", _BIND)
    os.mkdir(f"{new}/dev")
    for device in DEVICES:
        _bind(device, new)
    for name in ("/proc", "/tmp", WORK):
        os.makedirs(new + name, exist_ok=True)
    os.symlink(temporary(), f"{new}/dev/shm")
    _mount("/proc", f"{new}/proc", "", _BIND | _REC)
    os.chdir(new)
    _call("pivot_root", libc.syscall(SYSTEM_CALLS["pivot_root"], b".", b"."))
    _call("umount", libc.umount2(b".", 2))
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
    _call("mount_setattr", libc.syscall(_MOUNT_SETATTR, -100, path.encode(), 0x8000, wanted, 32))


def temporary() -> str:
    """The guest's folder for temporary files: /tmp, unless Python itself is installed below it."""
    return WORK if any(path.startswith("/tmp/") for path in visible()) else "/tmp"


def fork_guest() -> int:
    """``os.fork``, but the child is process 1 of namespaces of its own. Raises ``OSError``.

    By the bare system call: ``unshare`` would give the pid namespace to a second child only, and with large
    libraries loaded a fork is most of what a sandbox costs.
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
        _call("clone", pid)
    return pid


def mount_guest(disk_mb: int, owner: int) -> None:
    """Gives a guest, after ``fork_guest``, its own ``WORK``, /tmp and /proc. Raises ``OSError``."""
    _mount("none", "/", "", _SLAVE | _REC)
    for path, size in ((WORK, disk_mb), (temporary(), max(1, disk_mb // 4)))[: 1 + (temporary() != WORK)]:
        options = f"size={size}m,nr_inodes=4096,mode=700,uid={owner},gid={owner}"
        _mount("tmpfs", path, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC, "subset=pid")
    _call("sethostname", libc.sethostname(b"sandbox", 7))


def _unshare(flags: int) -> None:
    owner = (os.geteuid(), os.getegid())
    _call("unshare", libc.unshare(flags | (_NEWUSER if owner[0] else 0)))
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
    _call(f"mount {target}", result)


def _call(what: str, result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


# ---- rights
# ---------------------------------------------------------------------------------------------------


def unused_user(number: int) -> int:
    """A uid that nobody has, when we are root; else our own. ``number`` tells a launcher's guests apart."""
    if os.geteuid():
        return os.geteuid()
    user = (1 << 30) + os.getpid() % (1 << 22) * 128 + number % 128
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= user < first + count:
            return user
    return 20000 + (os.getpid() * 128 + number) % 40000


def drop_rights(user: int, files_as: int) -> None:
    """Becomes ``user``, without a single capability, for good; files are opened as ``files_as``. Raises
    ``OSError``."""
    if os.geteuid() == 0:
        _call("securebits", libc.prctl(_PR_SET_SECUREBITS, 1 << 2, 0, 0, 0))  # keep what the last lines need
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        libc.setfsgid(files_as)
        libc.setfsuid(files_as)
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
    _call("capset", libc.capset(header, bytes(24)))


def run_as(user: int, command: list[str]) -> NoReturn:
    """For root: runs a program as ``user``, who finds the Python that runs here even where it lies in folders
    closed to such a user, as below /root. Raises ``OSError``."""
    if not readable_by_all():
        enter_root(command[0])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execv(command[0], command)


def readable_by_all() -> bool:
    """Whether a user without any rights could read the Python that runs here."""
    for path in filter(os.path.exists, {os.path.realpath(sys.executable), *sys.path}):
        for part in (Path(path), *Path(path).parents):
            if not stat.S_IMODE(part.stat().st_mode) & 0o001:
                return False
    return True


# ---- Landlock
# -------------------------------------------------------------------------------------------------


def rules_in_root() -> int:
    """A ruleset for a guest in a root of its own, after ``mount_guest``."""
    return ruleset(
        {
            "/": LOAD,
            WORK: CHANGE,
            temporary(): CHANGE,
            "/proc": READ | DEVICE,
            **dict.fromkeys(DEVICES, DEVICE),
        }
    )


def rules_on_host(work: str, processes: bool) -> int:
    """A ruleset for a guest that sees the machine's own files. ``processes``: it may read /proc."""
    excluded = hidden()
    rules = {part: LOAD for path in visible() for part in _without(os.path.realpath(path), excluded)}
    rules |= {work: CHANGE, **dict.fromkeys(DEVICES, DEVICE)}
    return ruleset(rules | ({"/proc": READ | DEVICE} if processes else {}))

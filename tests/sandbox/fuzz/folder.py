"""``Folder`` reads, writes and lists a work folder that hostile code filled, beside files that it must not
touch. What it says is held against a slow look at every single component of a path."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from sandbox.guest.folder import MAX_DEPTH, Folder, remove
from tests.sandbox.fuzz.engine import Target, guard
from tests.sandbox.fuzz.garbage import hostile_text

DISK_MB = FILE_MB = 1
_BASE = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()) / f"fuzz-{os.getpid()}"
WORK, OUTSIDE = _BASE / "work", _BASE / "outside"
_NAMES = (b"a", b"b", b"c", b"d", b"e", b".h", b"new\nline", b"\xff\xfe", b"x" * 255, b" ", b"-rf",
          b"\xe2\x80\xaegpj", b"\x1b[2J", b"%2e%2e", b"\\")  # fmt: skip
_TARGETS = ("{outside}/secret", "../outside/secret", "../../outside/secret", "{outside}", "../outside", "..",
            "/", "/dev/zero", "/proc/self/environ", "a", "b/a", "nothing", "{work}/a", ".")  # fmt: skip


@cache
def prepare() -> None:
    atexit.register(shutil.rmtree, _BASE)
    (OUTSIDE / "inner").mkdir(parents=True, exist_ok=True)
    for name in ("secret", "a", "inner/a"):
        (OUTSIDE / name).write_bytes(b"CANARY " + name.encode())


def seen(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything about a tree that somebody could have changed."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        found[str(path)] = info.st_mode, info.st_mtime_ns, content
    return found


# ---- what hostile code does


def _anywhere(random: Random) -> bytes:
    """A path in the work folder that may be, or have been, something."""
    depth = random.choice((1, 1, 1, 2, 2, 3, 9))
    few = _NAMES[:5] if random.random() < 0.8 else _NAMES
    return b"/".join(random.choice(few) for _ in range(depth))


def wreck(random: Random) -> None:
    """One change."""
    work = os.fsencode(WORK)
    path = work + b"/" + _anywhere(random)
    if os.path.realpath(path) != path:
        path = work + b"/" + random.choice(_NAMES)  # the change itself stays inside
    kind = random.randrange(12)
    with contextlib.suppress(OSError):
        if kind == 0:
            if not os.path.islink(path):
                os.makedirs(path)
        elif kind < 4:
            _fill(path, random)
        elif kind < 8:
            target = random.choice(_TARGETS).format(outside=OUTSIDE, work=WORK)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.symlink(target.encode(), path)
        elif kind == 8:
            os.mkfifo(path)
        elif kind == 9:
            _listen(path)
        elif kind == 10:
            os.rename(path, work + b"/" + random.choice(_NAMES))
        elif random.random() < 0.5:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        elif not os.path.islink(path):
            os.chmod(path, random.choice((0, 0o200, 0o700)))


def _fill(path: bytes, random: Random) -> None:
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        return  # what is behind a link would be ours to write, and a pipe would wait
    limit = FILE_MB << 20
    with open(path, "wb") as file:
        if random.random() < 0.1:
            file.truncate(random.choice((limit - 1, limit, limit + 1, 5 * limit, 1 << 40)))
        else:
            file.write(random.randbytes(random.choice((0, 1, 30))))


def _listen(path: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path)


# ---- what ought to come of it


def _kind(path: str) -> os.stat_result | None:
    """What is at a path in the work folder, if no component of it but the last is anything but a folder."""
    parts, here = path.split("/"), str(WORK)
    if not 0 < len(parts) <= MAX_DEPTH or any(part in ("", ".", "..") or "\0" in part for part in parts):
        return None
    for place, part in enumerate(parts):
        here = f"{here}/{part}"
        try:
            info = os.lstat(here)
        except (OSError, ValueError):
            return None
        if place + 1 < len(parts) and not stat.S_ISDIR(info.st_mode):
            return None
    return info


def _expected(path: str) -> bytes | None:
    """What reading should give; None for any refusal."""
    info = _kind(path)
    if info is None or not stat.S_ISREG(info.st_mode) or info.st_size > FILE_MB << 20:
        return None
    return (WORK / path).read_bytes()


def _expected_listing(folder: Path, prefix: str, depth: int) -> list[str]:
    found = []
    for name in os.listdir(folder):
        info = (folder / name).lstat()
        if name.startswith(".") or not name.isprintable():
            continue
        if stat.S_ISREG(info.st_mode):
            found.append(prefix + name)
        elif stat.S_ISDIR(info.st_mode) and depth > 1:
            found += _expected_listing(folder / name, f"{prefix}{name}/", depth - 1)
    return sorted(found)


# ---- cases


def _name(random: Random) -> str:
    chance = random.random()
    if chance < 0.2:
        return hostile_text(random)
    if chance < 0.3:
        return random.choice(
            ("../outside/secret", str(OUTSIDE / "secret"), "a/../../outside/a", "b/../a", "./a")
        )
    return os.fsdecode(_anywhere(random))


def _read(folder: Folder, random: Random) -> None:
    path = _name(random)
    expected, info = _expected(path), _kind(path)
    found = refusal = None
    try:
        with guard.watch():
            found = folder.read(path)
    except (FileNotFoundError, ValueError) as error:
        refusal = error
    assert found == expected, f"{path!r}: {found!r}, not {expected!r}"
    if info is not None and not stat.S_ISREG(info.st_mode):
        assert isinstance(refusal, FileNotFoundError), f"{path!r}: {refusal!r}"


def _write(folder: Folder, random: Random) -> None:
    path, data = _name(random), random.randbytes(random.choice((0, 5)))
    try:
        with guard.watch():
            folder.write(path, data)
    except (OSError, ValueError):
        pass
    else:
        assert _expected(path) == data, path
    assert not [name for name in os.listdir(WORK) if name.endswith(".draft")], "a draft was left"


def _list(folder: Folder, random: Random) -> None:
    expected = _expected_listing(WORK, "", MAX_DEPTH)
    with guard.watch():
        found = list(folder.files())
    assert [path for path, _, _ in found] == expected
    for path, size, digest in found:
        assert size == (WORK / path).lstat().st_size
        data = _expected(path)
        if digest or (data is not None and sum(size for _, size, _ in found) < DISK_MB << 20):
            assert digest == hashlib.sha256(data or b"").hexdigest(), path


def _look(folder: Folder, random: Random) -> None:
    with guard.watch():
        folder.unlock()
        folder.full()


def _round(random: Random) -> None:
    guard.root = str(WORK)
    prepare()
    before = seen(OUTSIDE)
    shutil.rmtree(WORK, ignore_errors=True)  # of a round that failed
    WORK.mkdir(mode=0o700)
    folder = Folder(str(WORK), DISK_MB, FILE_MB)
    try:
        for _ in range(8):
            wreck(random)
        for _ in range(50):
            wreck(random)
            case = random.choice((_read, _read, _read, _read, _write, _write, _list, _look))
            case(folder, random)
    finally:
        os.close(folder.fd)
        with guard.watch():
            remove(str(WORK))
    assert not WORK.exists()
    assert seen(OUTSIDE) == before, "something outside was changed"


# ---- what breaks it


def _follow() -> None:
    real = os.open

    def follow(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        return real(path, flags & ~os.O_NOFOLLOW, *rest, **named)

    patch("os.open", follow).start()


def _take_any_path() -> None:
    def parent(folder: Folder, path: str, create: bool = False) -> tuple[int, str]:
        return os.dup(folder.fd), path

    patch.object(Folder, "_parent", parent).start()


def _write_through() -> None:
    def write(folder: Folder, path: str, data: bytes) -> None:
        Path(folder.path, path).write_bytes(data)

    patch.object(Folder, "write", write).start()


def _read_anything() -> None:
    patch("sandbox.guest.folder.stat.S_ISREG", lambda mode: True).start()


def _read_any_size() -> None:
    real = Folder.__init__

    def start(folder: Folder, path: str, disk_mb: int, file_mb: int) -> None:
        real(folder, path, disk_mb, 1 << 30)

    patch.object(Folder, "__init__", start).start()


def _leave_open() -> None:
    real: Callable[[Folder, str], bytes] = Folder.read

    def read(folder: Folder, path: str) -> bytes:
        os.dup(folder.fd)
        return real(folder, path)

    patch.object(Folder, "read", read).start()


TARGET = Target(
    _round,
    50,
    {
        "links are followed": _follow,
        "any path is taken": _take_any_path,
        "links are written through": _write_through,
        "pipes and devices are read": _read_anything,
        "any size is read": _read_any_size,
        "descriptors stay open": _leave_open,
    },
)

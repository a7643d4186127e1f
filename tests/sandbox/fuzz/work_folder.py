"""A work folder that hostile code fills, beside files that nobody may touch, and a slow check of every
path."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from sandbox.guest.folder import MAX_DEPTH
from tests.sandbox.fuzz.strategies import mostly

LIMIT = 1 << 20
"""Bytes of the largest file that is read, and of the disk."""
_NAMES = ("a", "b", "c", "d", "e", ".h", "new\nline", "\udcff\udcfe", "x" * 255, " ", "-rf", "\u202egpj",
          "\x1b[2J", "%2e%2e", "\\")  # fmt: skip
_TARGETS = ("{outside}/secret", "../outside/secret", "../../outside/secret", "{outside}", "../outside", "..",
            "/", "/dev/zero", "/proc/self/environ", "a", "b/a", "nothing", "{work}/a", ".")  # fmt: skip
_few = st.sampled_from(_NAMES[:5])
names = st.sampled_from(_NAMES)
paths = mostly(_few, st.lists(_few | names, min_size=1, max_size=9).map("/".join), 3)
"""Paths in the work folder that may be, or have been, something."""
targets = st.sampled_from(_TARGETS)
sizes = st.sampled_from((0, 1, 30, LIMIT - 1, LIMIT, LIMIT + 1, 5 * LIMIT, 1 << 40))
kinds = st.sampled_from(
    (
        "file",
        "file",
        "file",
        "link",
        "link",
        "link",
        "folder",
        "folder",
        "pipe",
        "socket",
        "device",
        "move",
        "mode",
    )
)
Changes = list[tuple[str, str, str, str, int]]
changes: st.SearchStrategy[Changes] = st.lists(
    st.tuples(kinds, paths, names, targets, sizes), min_size=4, max_size=16
)
"""Arguments of ``Wreck.change``, several times."""


class Wreck:
    """The work folder at ``work``, and the files ``outside``."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.work, self.outside = self.base / "work", self.base / "outside"
        self.work.mkdir(mode=0o700)
        (self.outside / "inner").mkdir(parents=True)
        for name in ("secret", "a", "inner/a"):
            (self.outside / name).write_bytes(b"CANARY " + name.encode())
        self._before = self._seen()

    def change(self, kind: str, path: str, name: str, target: str, size: int) -> None:
        """Does what hostile code could do at ``path``. A change through a link is one of the work folder
        itself."""
        place = f"{self.work}/{path}"
        if os.path.realpath(place) != place:
            place = f"{self.work}/{name}"
        with contextlib.suppress(OSError):
            if kind == "folder" and not os.path.islink(place):
                os.makedirs(place)
            elif kind == "file":
                self._fill(place, size)
            elif kind == "link":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(place)
                os.symlink(target.format(outside=self.outside, work=self.work), place)
            elif kind == "pipe":
                os.mkfifo(place)
            elif kind == "socket":
                with socket.socket(socket.AF_UNIX) as end:
                    end.bind(place)
            elif kind == "device":
                os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
            elif kind == "move":
                os.rename(place, f"{self.work}/{name}")
            elif kind == "mode" and not os.path.islink(place):
                os.chmod(place, (0, 0o200, 0o700)[size % 3])

    def _fill(self, place: str, size: int) -> None:
        if os.path.lexists(place) and not stat.S_ISREG(os.lstat(place).st_mode):
            return  # opening a pipe would block, and a link could lead anywhere
        with open(place, "wb") as file:
            if size > 30:
                file.truncate(size)
            else:
                file.write(os.urandom(size))

    def kind(self, path: str) -> os.stat_result | None:
        """What is at ``path``, if every component before the last is a folder, and none leads elsewhere."""
        parts, here = path.split("/"), str(self.work)
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

    def content(self, path: str) -> bytes | None:
        """What reading ``path`` must return; None for any refusal."""
        info = self.kind(path)
        if info is None or not stat.S_ISREG(info.st_mode) or info.st_size > LIMIT:
            return None
        return (self.work / path).read_bytes()

    def listing(self, folder: Path | None = None, prefix: str = "", depth: int = MAX_DEPTH) -> list[str]:
        """The paths that a listing must have."""
        paths = []
        for name in os.listdir(here := folder or self.work):
            info = (here / name).lstat()
            if name.startswith(".") or not name.isprintable():
                continue
            if stat.S_ISREG(info.st_mode):
                paths.append(prefix + name)
            elif stat.S_ISDIR(info.st_mode) and depth > 1 and os.access(here / name, os.R_OK | os.X_OK):
                paths += self.listing(here / name, f"{prefix}{name}/", depth - 1)
        return sorted(paths)

    def check_outside(self) -> None:
        assert self._seen() == self._before, "something outside was changed"

    def remove(self) -> None:
        shutil.rmtree(self.base)

    def _seen(self) -> dict[str, tuple[int, int, bytes]]:
        """Everything about the files outside that somebody could have changed."""
        seen = {}
        for path in (self.outside, *self.outside.rglob("*")):
            info = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
            seen[str(path)] = info.st_mode, info.st_mtime_ns, content
        return seen

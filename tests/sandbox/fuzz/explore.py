"""Runs a property on generated examples, under bounds on what the code under test may use and touch.

While the code under test runs (``watch``), it may not open files outside of one folder, start processes,
connect sockets or unpickle; it has ten seconds of CPU time and 512 MB of address space, and has to close its
descriptors.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

_CHOSEN = os.environ.get("COACHGYM_FUZZ_EXAMPLES")
EXAMPLES = int(_CHOSEN or 100)
BOUNDED = settings(
    max_examples=EXAMPLES, derandomize=_CHOSEN is None, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
)  # fmt: skip
CPU_SECONDS, GROWTH = 10.0, 512 << 20

_LIBRARIES = (*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), "/usr/share/zoneinfo")
_NEVER = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill",
     "os.link", "os.symlink", "os.chown", "os.truncate", "socket.connect", "socket.bind",
     "pickle.find_class", "ctypes.dlopen", "shutil.rmtree", "shutil.copyfile"}
)  # fmt: skip
_PLACES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.mkdir": ((0, 2),), "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.rename": ((0, 2), (1, 3)),
    "os.chmod": ((0, 2),), "os.listdir": ((0, None),), "os.scandir": ((0, None),),
}  # fmt: skip
"""Audit event -> the positions of its paths or descriptors, and of the folder descriptor each is relative
to."""


class StrayError(BaseException):
    """Code under test did something that reading untrusted input never needs."""


def explore(check: Callable[..., None], *inputs: SearchStrategy[Any]) -> None:
    """Calls ``check`` with generated values of ``inputs``. Raises what it raises for the smallest example."""
    BOUNDED(given(*inputs)(check))()


@contextlib.contextmanager
def watch(root: str = "") -> Iterator[None]:
    """Applies the bounds to what runs inside. ``root`` is the one folder that may be read and written."""
    _install_hook()
    held = len(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GROWTH, limits[1]))
    previous = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    watcher = _Watcher(root)
    try:
        with patch("os.open", watcher.open):  # the audit event does not say what a path is relative to
            _watchers.append(watcher)
            try:
                yield
            finally:
                _watchers.remove(watcher)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert len(os.listdir("/proc/self/fd")) <= held, "a descriptor stays open"


def _hang(*_: object) -> None:
    raise StrayError(f"more than {CPU_SECONDS:g} seconds")


class _Watcher:
    """Judges the audit events and opened descriptors of one ``watch``."""

    def __init__(self, root: str) -> None:
        self._root, self._open = root, os.open

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        fd = self._open(path, flags, mode, dir_fd=dir_fd)
        if not self._fd_inside(fd):
            os.close(fd)
            raise StrayError(f"opened {path!r}")
        return fd

    def look(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _NEVER:
            raise StrayError(f"{event} {args!r}")
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.fsdecode(args[0])
            if path.startswith("/") and not self._inside(path) and not path.startswith(_LIBRARIES):
                raise StrayError(f"opens {path!r}")
        if event == "os.listdir" and isinstance(args[0], str) and args[0].startswith(_LIBRARIES):
            return  # an import, such as a codec's at its first use, looks for its module
        for named, relative in _PLACES.get(event, ()):
            if not self._meant(args[named], -1 if relative is None else args[relative]):
                raise StrayError(f"{event} {args!r}")

    def _meant(self, path: Any, folder: int) -> bool:
        """Returns whether a path, taken literally, or a descriptor lies inside."""
        if isinstance(path, int):
            return self._fd_inside(path)
        plain = os.fsdecode(path)
        if folder < 0:
            return self._inside(os.path.normpath(plain))
        return self._fd_inside(folder) and "/" not in plain and plain != ".."

    def _fd_inside(self, fd: int) -> bool:
        return fd >= 0 and self._inside(os.readlink(f"/proc/self/fd/{fd}"))

    def _inside(self, path: str) -> bool:
        return bool(self._root) and (path == self._root or path.startswith(f"{self._root}/"))


_watchers: list[_Watcher] = []


@cache
def _install_hook() -> None:
    """Installs the audit hook, which cannot be removed again: it does nothing outside of ``watch``."""
    sys.addaudithook(lambda event, args: _watchers[-1].look(event, args) if _watchers else None)

"""Plays seeded rounds of hostile input, in a process of its own: bounded in time, memory and descriptors, and
with every file that is opened looked at."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

CPU_SECONDS, SECONDS = 10.0, 60.0
"""That one round may take: far more than any needs, on any machine."""
GROWTH = 512 << 20
"""Bytes of address space beyond those at the start. Eight of these were promised to the largest listing."""

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
"""Where the arguments of an event have a path, or a descriptor, and the folder that it is relative to."""


class HangError(BaseException):
    """A round went on for too long."""


class StrayError(BaseException):
    """Something was done that reading hostile input never needs: a file elsewhere, a process, a socket."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed."""

    round: Callable[[Random], None]
    """Plays one round. Raises whatever was not documented, or ``AssertionError``."""
    cases: int
    """Cases in a round."""
    breaks: Mapping[str, Callable[[], None]]
    """Name -> what breaks the code under test in one way, so that tests see the fuzzer find it."""


class Guard:
    """Watches, while code under test runs, what this process opens, changes and starts."""

    def __init__(self) -> None:
        self.root = ""
        """The one folder that may be read and written; "" for none."""
        self._watching = False
        self._open = os.open

    def install(self) -> None:
        """For the rest of this process's life."""
        sys.addaudithook(self._look)
        os.open = self._open_and_look  # the hook does not learn what a relative path is relative to

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in _NEVER:
            raise StrayError(f"{event} {args!r}")
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.fsdecode(args[0])
            if path.startswith("/") and not self._inside(path) and not path.startswith(_LIBRARIES):
                raise StrayError(f"opens {path!r}")
        for named, relative in _PLACES.get(event, ()):
            if not self._meant(args[named], -1 if relative is None else args[relative]):
                raise StrayError(f"{event} {args!r} outside")

    def _meant(self, path: Any, folder: int) -> bool:
        """Whether a path, taken literally, or a descriptor lies inside."""
        if isinstance(path, int):
            return self._fd_inside(path)
        plain = os.fsdecode(path)
        if folder < 0:
            return self._inside(os.path.normpath(plain))
        return self._fd_inside(folder) and "/" not in plain and plain != ".."

    def _open_and_look(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        fd = self._open(path, flags, mode, dir_fd=dir_fd)
        if self._watching and not self._fd_inside(fd):
            where = _path_of(fd)
            os.close(fd)
            raise StrayError(f"opened {where!r} as {path!r}")
        return fd

    def _fd_inside(self, fd: int) -> bool:
        return fd >= 0 and self._inside(_path_of(fd))

    def _inside(self, path: str) -> bool:
        return bool(self.root) and (path == self.root or path.startswith(f"{self.root}/"))


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


guard = Guard()


def random_of(seed: int, number: int) -> Random:
    """The source of all that is random in a round."""
    return Random(f"{seed}.{number}")


def play(name: str, target: Target, seed: int, rounds: range, broken: str = "") -> bool:
    """Plays the rounds, and says on stdout how to see the first failure again. Whether there was none."""
    guard.install()
    if broken:
        target.breaks[broken]()
    with contextlib.suppress(Exception, StrayError):
        target.round(random_of(seed, rounds.start))  # what is imported and cached at the first time, now is
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GROWTH, used + GROWTH))
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, _hang)
    for place in rounds:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            target.round(random_of(seed, place))
            found = len(list(Path("/proc/self/fd").iterdir()))
            assert found == open_before, f"{found - open_before} more descriptors than before"
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            again = f"python -m tests.sandbox.fuzz {name} --seed {seed} --round {place}"
            print(f"AGAIN: {again}{f' --break {broken!r}' if broken else ''}")
            return False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{name}: {len(rounds) * target.cases} cases, seed {seed}, at most {grown >> 10} MB")
    return True


def _hang(number: int, _frame: object) -> None:
    raise HangError(f"more than {CPU_SECONDS if number == signal.SIGPROF else SECONDS:g} seconds")

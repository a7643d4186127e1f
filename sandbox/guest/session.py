"""Sessions: interpreters that stay, and run one program after the other with the same names, as a notebook's
does. Standard library only.

The guest's side trusts nothing that comes from the other: a program in a session can write to all of its
descriptors what it likes, or close them. The most it can say is that the program that runs has ended."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

from sandbox.guest.frames import GoneError, pack, unpack
from sandbox.guest.processes import cpu_seconds, descendants, end_rest, running, stop_descendants
from sandbox.guest.program import execute, finish, flush, prepare

MAX_SESSIONS = 4
"""Interpreters that one sandbox keeps alive."""
STOPPING = 0.1
"""Seconds in which all that is below a session should have stopped after a program."""
WATCHING = 1.0
"""Seconds until the next look whether it did."""
GRACE = 1.0
"""Seconds that a session has to stop its program when interrupted."""
MAX_PROGRAM = 1 << 30
_REPORT = struct.Struct(">QB")
"""The number of the program that ended, and its exit code."""


class Session:
    """The guest's side of one. None of its descriptors ever blocks."""

    def __init__(self, pid: int, orders: int, reports: int, out: int, err: int) -> None:
        self.pid, self.orders, self.reports = pid, orders, reports
        self.controls, self.outputs = (orders, reports), (out, err)
        self.pidfd = os.pidfd_open(pid)
        for fd in (orders, reports, out, err):
            os.set_blocking(fd, False)
        self.programs, self.exit_code = 0, 0
        self.cpu_s = 0.0
        """CPU time up to the end of the last program."""
        self._unsent, self._heard = memoryview(b""), b""

    def order(self, code: bytes) -> None:
        """Begins the next program, which the session gets as ``advance`` is called."""
        self.programs += 1
        self._unsent, self._heard = memoryview(pack({"number": self.programs}, code)), b""

    def register(self, ready: select.poll) -> None:
        """Has ``ready`` look for what ``advance`` needs."""
        ready.register(self.reports, select.POLLIN)
        if self._unsent:
            ready.register(self.orders, select.POLLOUT)

    def advance(self, fd: int, ready: select.poll) -> str:
        """Goes on where ``fd`` is ready. Returns ``done`` when the program has ended, ``forged`` when
        something came that only a program can have written."""
        with contextlib.suppress(BlockingIOError):  # a program in there can take our place at a pipe
            if fd == self.orders:
                self._send(ready)
            else:
                return self._hear(ready)
        return ""

    def _send(self, ready: select.poll) -> None:
        try:
            self._unsent = self._unsent[os.write(self.orders, self._unsent[: 1 << 16]) :]
        except BrokenPipeError:  # nobody hears: it is about to end, or will be when its time is over
            ready.unregister(self.orders)
        else:
            if not self._unsent:
                ready.unregister(self.orders)

    def _hear(self, ready: select.poll) -> str:
        data = os.read(self.reports, _REPORT.size + 1)
        self._heard += data
        if not data:
            ready.unregister(self.reports)
        if len(self._heard) < _REPORT.size:
            return ""
        if self._unsent or self._heard[:-1] != _REPORT.pack(self.programs, 0)[:-1]:
            return "forged"
        self.exit_code = self._heard[-1]
        return "done"

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def ended(self) -> bool:
        """Whether its process has ended, which it may do, or be made to, at any time."""
        ready = select.poll()
        ready.register(self.pidfd, select.POLLIN)
        return bool(ready.poll(0))

    def spent(self) -> float:
        """Seconds of CPU time since the last call."""
        before, self.cpu_s = self.cpu_s, cpu_seconds(self.pid)
        return max(0.0, self.cpu_s - before)

    def kill(self) -> tuple[int, float]:
        """Ends its process, not those below. Returns its exit code and CPU time since the last program."""
        os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        seconds = usage.ru_utime + usage.ru_stime - self.cpu_s
        return os.waitstatus_to_exitcode(status), max(0.0, seconds)

    def close(self) -> None:
        for fd in (self.pidfd, self.orders, self.reports, *self.outputs):
            os.close(fd)


class Sessions:
    """Those of one guest, by name. ``start`` makes one, with a seed."""

    def __init__(self, start: Callable[[int], Session]) -> None:
        self._start = start
        self._alive: dict[str, Session] = {}
        self._lost: set[str] = set()
        """Those that ended while none of their programs ran, and that nobody asked for since."""
        self._looked = 0.0

    def due(self) -> float:
        """Seconds until ``end_what_runs`` is to be called."""
        return self._looked + WATCHING - time.monotonic() if self._alive else math.inf

    def pids(self) -> frozenset[int]:
        """Their processes, not those below."""
        return frozenset(session.pid for session in self._alive.values())

    def take(self, name: str, seed: int) -> tuple[Session, str]:
        """A session, which is started where there is none, and whether one of that name was lost before.

        Raises:
            ValueError: it would be one too many.
        """
        for other, session in list(self._alive.items()):
            if session.ended():
                self._lose(other)
        if name not in self._alive:
            if len(self._alive) >= MAX_SESSIONS:
                raise ValueError(f"no more than {MAX_SESSIONS} sessions at once")
            self._alive[name] = self._start(seed)
        lost = (
            "the session had been lost, with its variables: this is a new one" if name in self._lost else ""
        )
        self._lost.discard(name)
        return self._alive[name], lost

    def fork(self) -> int:
        """``os.fork``. Where sessions hold all the processes that there may be, they end. Raises
        ``GoneError``."""
        try:
            return os.fork()
        except OSError:
            self._lose(*self._alive)
        try:
            return os.fork()
        except OSError as error:
            raise GoneError(f"no process can be had: {error}") from None

    def end(self, name: str) -> tuple[int, float]:
        """Ends a session and all that is below it. Returns as ``Session.kill``; the caller closes it."""
        result = self._alive.pop(name).kill()
        end_rest(self.pids())
        return result

    def settle(self) -> None:
        """After a program: stops them, with all that is below them, and ends everything else."""
        if self._alive:
            stop_descendants(STOPPING)
            end_rest(self.pids())
            self._looked = time.monotonic()

    def end_what_runs(self) -> None:
        """Between programs: ends those that go on although they were stopped."""
        self._looked = time.monotonic()
        if not (moving := running()):
            return
        alive = self._alive.items()
        self._lose(*[name for name, session in alive if moving & {session.pid, *descendants(session.pid)}])
        end_rest(self.pids())

    def _lose(self, *names: str) -> None:
        for name in names:
            session = self._alive[name]
            self.end(name)
            session.close()
            self._lost.add(name)


def run_session(orders: int, reports: int, seed: int) -> int:
    """Turns this process into a session: runs what comes, and says when it ended. Returns the exit code of a
    process that a program forked and let return to here.

    Raises:
        GoneError, OSError: ``orders`` or ``reports`` is closed.
    """
    me, names = os.getpid(), prepare(seed)
    while True:
        header, code = unpack(lambda size: os.read(orders, size), MAX_PROGRAM)
        status = _interruptible(code.decode(), f"<program {header['number']}>", names)
        if os.getpid() != me:
            finish()
            return status
        flush()
        os.write(reports, _REPORT.pack(header["number"], status))


def _interruptible(code: str, file: str, names: dict[str, Any]) -> int:
    """``execute``, which alone an interrupt may end, whatever an earlier program made of that signal."""
    try:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return execute(code, file, names)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # between the end of the program and the line above
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 1

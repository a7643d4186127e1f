"""Sessions: interpreters that run one program after another in the same namespace, like that of a notebook.
Standard library only.

The guest does not trust the session: its programs can write anything to all of its descriptors, or close
them. The most that they can forge is that the current program has ended."""

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
from sandbox.guest.processes import (
    cpu_seconds,
    descendants,
    end_rest,
    reaped_seconds,
    running,
    stop_descendants,
)
from sandbox.guest.program import execute, finish, flush, prepare

MAX_SESSIONS = 4
"""Most sessions of one sandbox at once."""
STOPPING = 0.1
"""Seconds within which all descendants of a session should stop after a program."""
WATCHING = 1.0
"""Seconds between checks that they are stopped."""
GRACE = 3.0
"""Seconds within which a session has to stop its program when interrupted."""
MAX_PROGRAM = 1 << 30
NEW_SESSION = "the session had been lost, with its variables: this is a new one"
_REPORT = struct.Struct(">QB")
"""The number of the program that ended, and its exit code."""


class Session:
    """The guest's side of a session. None of its descriptors ever blocks."""

    def __init__(self, pid: int, orders: int, reports: int, out: int, err: int) -> None:
        self.pid, self.orders, self.reports = pid, orders, reports
        self.controls, self.outputs = (orders, reports), (out, err)
        self.pidfd = os.pidfd_open(pid)
        for fd in (orders, reports, out, err):
            os.set_blocking(fd, False)
        self.programs, self.exit_code = 0, 0
        self.cpu_s = 0.0
        """CPU time of all its processes up to the end of the last program."""
        self._unsent, self._received = memoryview(b""), b""

    def order(self, code: bytes) -> None:
        """Starts the next program; calls of ``advance`` send it."""
        self.programs += 1
        self._unsent, self._received = memoryview(pack({"number": self.programs}, code)), b""

    def register(self, ready: select.poll) -> None:
        """Registers the descriptors that ``advance`` needs."""
        ready.register(self.reports, select.POLLIN)
        if self._unsent:
            ready.register(self.orders, select.POLLOUT)

    def advance(self, fd: int, ready: select.poll) -> str:
        """Sends or receives on ``fd``, which is ready. Returns ``done`` when the program has ended,
        ``forged`` when something arrived that only a program can have written."""
        with contextlib.suppress(BlockingIOError):  # a program in the session may have read or written first
            if fd == self.orders:
                self._send(ready)
            else:
                return self._receive(ready)
        return ""

    def _send(self, ready: select.poll) -> None:
        try:
            self._unsent = self._unsent[os.write(self.orders, self._unsent[: 1 << 16]) :]
        except BrokenPipeError:  # nothing reads: the session is ending, or will be ended at the timeout
            ready.unregister(self.orders)
        else:
            if not self._unsent:
                ready.unregister(self.orders)

    def _receive(self, ready: select.poll) -> str:
        data = os.read(self.reports, _REPORT.size + 1)
        self._received += data
        if not data:
            ready.unregister(self.reports)
        if len(self._received) < _REPORT.size:
            return ""
        if self._unsent or self._received[:-1] != _REPORT.pack(self.programs, 0)[:-1]:
            return "forged"
        self.exit_code = self._received[-1]
        return "done"

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def ended(self) -> bool:
        """Returns whether its process has ended, which may happen at any time."""
        ready = select.poll()
        ready.register(self.pidfd, select.POLLIN)
        return bool(ready.poll(0))

    def spent(self) -> float:
        """Returns the seconds of CPU time of all its processes since the last call."""
        before, self.cpu_s = self.cpu_s, sum(map(cpu_seconds, {self.pid} | descendants(self.pid)))
        return self.cpu_s - before

    def kill(self) -> int:
        """Kills its process, not the descendants. Returns its exit code."""
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        for fd in (self.pidfd, self.orders, self.reports, *self.outputs):
            os.close(fd)


class Sessions:
    """The sessions of one guest, by name. ``start`` starts one, with a seed."""

    def __init__(self, start: Callable[[int], Session]) -> None:
        self._start = start
        self._alive: dict[str, Session] = {}
        self._lost: set[str] = set()
        """Sessions that ended while none of their programs ran, and that were not requested since."""
        self._checked = 0.0

    def due(self) -> float:
        """Returns the seconds until ``end_running`` is due."""
        return self._checked + WATCHING - time.monotonic() if self._alive else math.inf

    def pids(self) -> frozenset[int]:
        """Returns the process ids of the sessions, without descendants."""
        return frozenset(session.pid for session in self._alive.values())

    def take(self, name: str, seed: int) -> tuple[Session, str]:
        """Returns a session, started if necessary, and a note if one of that name was lost before.

        Raises:
            ValueError: it would be one session too many.
        """
        for other, session in list(self._alive.items()):
            if session.ended():
                self._lose(other)
        if name not in self._alive:
            if len(self._alive) >= MAX_SESSIONS:
                raise ValueError(f"no more than {MAX_SESSIONS} sessions at once")
            self._alive[name] = self._start(seed)
        lost = NEW_SESSION if name in self._lost else ""
        self._lost.discard(name)
        return self._alive[name], lost

    def fork(self) -> int:
        """Forks, as ``os.fork``. Where sessions occupy all the allowed processes, ends them first. Raises
        ``GoneError``."""
        try:
            return os.fork()
        except OSError:
            self._lose(*self._alive)
        try:
            return os.fork()
        except OSError as error:
            raise GoneError(f"no process can be started: {error}") from None

    def spent(self, name: str) -> float:
        """Returns the seconds of CPU time of a session's last program, with processes that it detached."""
        orphans = descendants(os.getpid(), self.pids())
        return max(0.0, self._alive[name].spent() + sum(map(cpu_seconds, orphans)))

    def end(self, name: str) -> tuple[int, float]:
        """Ends a session and its descendants. Returns its exit code and CPU time since the last program; the
        caller closes it."""
        before, session = reaped_seconds(), self._alive.pop(name)
        exit_code = session.kill()
        end_rest(self.pids())
        return exit_code, max(0.0, reaped_seconds() - before - session.cpu_s)

    def discard(self, name: str) -> None:
        """Ends a session that the host does not need any more, if there is one: this is no loss."""
        self._lose(*{name} & self._alive.keys())
        self._lost.discard(name)

    def settle(self) -> None:
        """After a program: stops the sessions and their descendants, and ends everything else."""
        if self._alive:
            stop_descendants(STOPPING)
            end_rest(self.pids())
            self._checked = time.monotonic()

    def end_running(self) -> None:
        """Between programs: ends the sessions that run although they were stopped."""
        self._checked = time.monotonic()
        if not (active := running()):
            return
        alive = self._alive.items()
        self._lose(*[name for name, session in alive if active & {session.pid, *descendants(session.pid)}])
        end_rest(self.pids())

    def _lose(self, *names: str) -> None:
        for name in names:
            session = self._alive[name]
            self.end(name)
            session.close()
            self._lost.add(name)


def run_session(orders: int, reports: int, seed: int) -> int:
    """Turns this process into a session: runs each program that arrives, and reports when it has ended.

    Returns only in a process that a program forked and that reached the end of the program: its exit code.

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
    """Calls ``execute``, which alone an interrupt may end, whatever handler an earlier program installed."""
    try:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return execute(code, file, names)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # between the end of the program and the line above
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 1

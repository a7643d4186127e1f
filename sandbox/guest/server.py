"""The server inside a sandbox, whatever launched it. Standard library only, as are the modules it imports:
their sources are also sent over a pipe.

It exchanges frames with the host, and forks one child per execution out of an interpreter that has its
libraries loaded already, so that a program costs a fork and not an import. After every execution it kills all
other processes of the sandbox, which requires it to be process 1 of a pid namespace, or the subreaper of its
descendants.

Guarantees against code that runs as its own user: it ignores the signals that end Python, is not dumpable
(its memory, environment and descriptors cannot be read, nor can it be traced), and is the last that the OOM
killer takes. Limitation: memory is forked, so a child can read what the host sent earlier. Hence one sandbox
per episode, and never an answer in it.

Sessions (``sandbox.guest.session``) outlive their programs. Between two programs of any kind they, and all
their descendants, are stopped; one that runs nevertheless is ended."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from sandbox.guest import memory
from sandbox.guest.folder import MAX_VISITED, Folder, Usage
from sandbox.guest.frames import GoneError, pack, unpack
from sandbox.guest.outcome import Execution, reply
from sandbox.guest.output import Stream
from sandbox.guest.processes import end_descendants, end_rest, reaped_seconds, resume
from sandbox.guest.program import FILE, run_program
from sandbox.guest.seccomp import filter_program, filter_system_calls, libc
from sandbox.guest.session import GRACE, Session, Sessions, run_session
from sandbox.guest.settings import UNCONFINED, Confinement, Settings, set_rlimits

PR_SET_DUMPABLE = 4


class Guest:
    """Serves one sandbox until the host is gone. Every child is under ``confinement`` before its program
    runs."""

    def __init__(
        self,
        source: int,
        sink: int,
        lifeline: int,
        settings: Settings,
        confinement: Confinement = UNCONFINED,
    ) -> None:
        self.source, self.sink, self.lifeline = source, sink, lifeline
        self.settings, self.confinement = settings, confinement
        self.until = time.monotonic() + settings.lifetime
        self.folder = Folder(settings.work, settings.disk_mb, settings.file_mb)
        self.null = os.open("/dev/null", os.O_RDWR)
        self.sessions = Sessions(self._open_session)
        with open("/proc/self/statm", "rb") as file:
            self.loaded = int(file.read().split()[0]) * resource.getpagesize()
        self.tick = memory.tick(settings.memory_mb << 20)
        self.room = Usage(0, 0)
        """What the work folder may hold while a program runs."""

    def serve(self) -> None:
        """Handles requests until the host's end, or the lifeline, closes; then ends every process."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        filter_system_calls()
        try:
            self._send({"ready": True})
            while True:
                self._wait_for_request()
                self._reply(*unpack(lambda size: os.read(self.source, size), self.settings.file_mb << 20))
        except (GoneError, BrokenPipeError, ConnectionError):
            pass
        finally:
            end_descendants()

    def _wait_for_request(self) -> None:
        ready = select.poll()
        ready.register(self.source, select.POLLIN)
        ready.register(self.lifeline, 0)
        now = time.monotonic()
        until = min(now + self.settings.idle, self.until)
        while (left := until - time.monotonic()) > 0:
            events = ready.poll(1000 * max(0.0, min(left, self.sessions.due())) + 1)
            if self.sessions.due() <= 0:
                self.sessions.end_running()
            if any(fd == self.lifeline for fd, _ in events):
                raise GoneError("the launcher is gone")
            if events:
                return
        self._end("its lifetime is over" if until == self.until else "nobody asked it for anything")

    def _end(self, reason: str) -> NoReturn:
        """Tells the host that no program caused this end."""
        os.set_blocking(self.sink, False)  # a host that forgot this guest may not read either
        with contextlib.suppress(OSError):
            self._send({"ended": reason})
        raise GoneError(reason)

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        data = memoryview(pack(header, body))
        while data:
            data = data[os.write(self.sink, data) :]

    def _reply(self, header: dict[str, Any], body: bytes) -> None:
        _check(header)
        self.folder.unlock()
        content: tuple[dict[str, Any], bytes] = ({}, b"")
        try:
            if header["op"] == "run":
                content = self._run(
                    body.decode(), float(header["timeout"]), int(header["seed"]), header.get("session")
                )
            elif header["op"] == "end":
                self.sessions.discard(header["session"])
            elif header["op"] == "read":
                content = {}, self.folder.read(header["path"])
            elif header["op"] == "write":
                self.folder.write(header["path"], body)
            else:
                content = {}, json.dumps(list(self.folder.files(settled=not self.sessions.pids()))).encode()
        except FileNotFoundError as error:
            content = {"error": "missing", "detail": str(error)}, b""
        except (ValueError, OSError) as error:
            content = {"error": "refused", "detail": str(error)}, b""
        self._send(*content)
        if header["op"] == "run":
            self.sessions.settle()

    def _run(self, code: str, timeout: float, seed: int, name: str | None) -> tuple[dict[str, Any], bytes]:
        holding = self.folder.holding(FILE, code.encode()) if name is None else contextlib.nullcontext()
        self.folder.forget()
        with holding:
            self.room = self.folder.limits(self._usage())
            if name is None:
                execution = self._run_alone(code, timeout, seed)
            else:
                execution = self._run_in(name, code, timeout, seed)
        if self._overfull() and not execution.ended:
            execution = execution._replace(ended="disk")
        return reply(execution, timeout, self.settings)

    def _run_alone(self, code: str, timeout: float, seed: int) -> Execution:
        """Runs a program in a process of its own."""
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        streams = self._streams(out, err)
        started, before = time.monotonic(), reaped_seconds()
        child = self.sessions.fork()
        if child == 0:
            self._become(out_end, err_end, lambda: run_program(code, seed))
        os.close(out_end)
        os.close(err_end)
        pidfd = os.pidfd_open(child)
        try:
            ended = self._watch(pidfd, streams, started + timeout)
            if ended:
                end_descendants(self.sessions.pids())
            _, status = os.waitpid(child, 0)
            wall = time.monotonic() - started
            end_rest(self.sessions.pids())
            for fd, stream in streams.items():
                stream.drain(fd)
        finally:
            for fd in (pidfd, out, err):
                os.close(fd)
        cpu = reaped_seconds() - before
        return Execution(ended, os.waitstatus_to_exitcode(status), streams, wall, cpu, lost="")

    def _run_in(self, name: str, code: str, timeout: float, seed: int) -> Execution:
        """Runs a program in a session. Raises ``ValueError`` when that would be one session too many."""
        session, lost = self.sessions.take(name, seed)
        streams = self._streams(*session.outputs)
        started = time.monotonic()
        session.order(code.encode())
        resume(session.pid)
        ended = last = self._watch(session.pidfd, streams, started + timeout, session)
        if ended == "timeout":
            session.interrupt()
            last = self._watch(session.pidfd, streams, time.monotonic() + GRACE, session)
        wall = time.monotonic() - started
        gone = last != "done"
        exit_code, cpu = self.sessions.end(name) if gone else (session.exit_code, self.sessions.spent(name))
        for fd, stream in streams.items():
            stream.drain(fd)
        if gone:
            session.close()
            lost = "the session is gone, with its variables"
        return Execution("" if ended == "done" else ended, exit_code, streams, wall, cpu, lost)

    def _streams(self, out: int, err: int) -> dict[int, Stream]:
        for fd in (out, err):
            os.set_blocking(fd, False)  # a program that reads its own output must not make us wait for it
        return {fd: Stream(self.settings.output_kb << 10) for fd in (out, err)}

    def _open_session(self, seed: int) -> Session:
        orders, reports, out, err = (os.pipe() for _ in range(4))
        theirs = (orders[0], reports[1], out[1], err[1])
        child = self.sessions.fork()
        if child == 0:
            self._become(*theirs[2:], lambda: run_session(*theirs[:2], seed), keep=theirs[:2])
        for fd in theirs:
            os.close(fd)
        return Session(child, orders[1], reports[0], out[0], err[0])

    def _watch(
        self, pidfd: int, streams: dict[int, Stream], deadline: float, session: Session | None = None
    ) -> str:
        """Collects output until the child ends or, in a session, its program does.

        Returns "" when the child ended itself; ``done`` when only its program did; else why it must be ended.
        """
        ready = select.poll()
        for fd in (pidfd, *streams):
            ready.register(fd, select.POLLIN)
        ready.register(self.source, select.POLLRDHUP)
        ready.register(self.lifeline, 0)
        if session:
            session.register(ready)
        measure = time.monotonic() + self.tick
        while (left := deadline - time.monotonic()) > 0:
            for fd, _ in ready.poll(1000 * min(left, self.tick) + 1):
                if fd == pidfd:
                    return ""
                if session and fd in session.controls:
                    if event := session.advance(fd, ready):
                        return event
                    continue
                if fd not in streams:
                    raise GoneError("the host is gone")
                if not streams[fd].read(fd):
                    ready.unregister(fd)
                elif streams[fd].total > self.settings.output_kb << 16:
                    return "output_limit"
            if self.settings.watch and time.monotonic() > measure:
                if exceeded := self._exceeded():
                    return exceeded
                measure = time.monotonic() + self.tick
        return "timeout"

    def _exceeded(self) -> str:
        """Returns ``memory`` or ``disk`` when all processes together exceed that limit; else ""."""
        if "memory" in self.settings.watch and memory.exceeds(self.settings.memory_mb << 20):
            return "memory"
        return "disk" if self._usage().exceeds(self.room) else ""

    def _usage(self) -> Usage:
        """Returns what the work folder holds, where no kernel limit bounds that."""
        watch = self.settings.watch
        return self.folder.usage(alone="files" in watch) if {"disk", "files"} & {*watch} else Usage(0, 0)

    def _overfull(self) -> bool:
        """Returns whether the program that has just ended left too much in the work folder.

        Raises ``GoneError`` for more than can be looked at in time: then the sandbox is of no use to anybody,
        and the host attributes its loss to this program.
        """
        used = self._usage()
        if used.entries >= MAX_VISITED:
            raise GoneError("more files than can be visited")
        if used.nested:
            self.folder.remove_nested()
        return used.exceeds(self.room)

    def _become(self, out: int, err: int, run: Callable[[], int], keep: Sequence[int] = ()) -> NoReturn:
        """Turns this fresh child into a program, which keeps only its two outputs and the descriptors
        ``keep``.

        Other programs may be able to open its descriptors as soon as it is dumpable. It must not have the
        guest's any more by then: what is written to them counts as the guest's own.
        """
        status = 70
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            for fd, target in ((self.null, 0), (out, 1), (err, 2)):
                os.dup2(fd, target)
            _close_all_but({*keep, *self.confinement.rules})
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # otherwise the next line must not open its file
            with contextlib.suppress(PermissionError):
                _expose_to_oom_killer()  # denied where files are opened as another user than processes run as
            set_rlimits(self.settings, self.loaded)
            os.chdir(self.settings.work)
            self.confinement.enter()
            filter_program()
            _close_all_but(keep)
            status = run()
        finally:
            os._exit(status)


def _expose_to_oom_killer() -> None:
    """Makes this process the first that the OOM killer takes. Raises ``PermissionError``."""
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)  # ``open`` would touch, and so copy, more memory
    try:
        os.write(score, b"1000")
    finally:
        os.close(score)


def _close_all_but(kept: Iterable[int]) -> None:
    """Closes every descriptor except the standard streams and ``kept``."""
    unused = 3
    for fd in sorted(kept):
        os.closerange(unused, fd)
        unused = fd + 1
    os.closerange(unused, 1 << 16)


def _check(request: dict[str, Any]) -> None:
    """Raises ``GoneError`` for a request that no host makes: then the other side is not our host any more."""
    timeout, op = request.get("timeout"), request.get("op")
    valid = {
        "run": isinstance(timeout, int | float)
        and abs(timeout) < 1e9
        and type(request.get("seed")) is int
        and isinstance(request.get("session"), str | None),
        "end": isinstance(request.get("session"), str),
        "read": isinstance(request.get("path"), str),
        "write": isinstance(request.get("path"), str),
        "list": True,
    }
    if not isinstance(op, str) or not valid.get(op):
        raise GoneError("what came is no request")

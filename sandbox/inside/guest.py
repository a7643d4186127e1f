"""The program inside a sandbox, whatever launched it. Standard library only, as are the modules it imports:
their sources are also sent over a pipe.

It speaks frames with the host, and forks one child per execution out of an interpreter that has its libraries
loaded already, so that a snippet costs a fork and not an import. After every execution all other processes of
the sandbox are killed, which needs this one to be process 1 of a pid namespace, or the subreaper of its
descendants.

What it holds up against code that runs as its own user: it ignores the signals that end Python, is not
dumpable (its memory, environment and descriptors cannot be read, nor can it be traced), and is the last that
the kernel's memory killer takes. What it does not: memory is forked, so a child can read what the host sent
earlier. Hence one sandbox for one episode, and never an answer in it."""

from __future__ import annotations

import contextlib
import gc
import importlib.machinery
import json
import os
import resource
import select
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from sandbox.inside import landlock
from sandbox.inside.folder import MAX_ENTRIES, Folder
from sandbox.inside.frames import GoneError, pack, unpack
from sandbox.inside.processes import descendants, end_descendants, proportional, resident, tasks_of
from sandbox.inside.program import run_program
from sandbox.inside.seccomp import filter_system_calls, libc

TICK = 0.1
"""Seconds between two looks at memory and disk use, where no kernel limit bounds the sum of all processes."""
PR_SET_DUMPABLE = 4


class Settings(NamedTuple):
    """What the launcher tells the guest: the limits, and which of them the guest itself has to see to."""

    work: str
    memory_mb: int
    processes: int
    disk_mb: int
    output_kb: int
    file_mb: int
    idle: float
    lifetime: float
    nproc: str
    """Who else counts towards RLIMIT_NPROC: ``own``: nobody; ``shared``: the user's other processes; ``off``:
    not set."""
    watch: Sequence[str]
    """What no kernel limit bounds in sum, so that the guest has to look: ``memory``, ``disk``, and the number
    of ``files`` on a file system that is the sandbox's own."""


class _Stream:
    """What is kept of an output: its head and its tail."""

    def __init__(self, kept: int) -> None:
        self.half, self.total = kept // 2, 0
        self.head, self.tail = bytearray(), bytearray()

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        del self.tail[: -self.half]

    def value(self) -> bytes:
        mark = f"\n[... {self.left_out} bytes left out ...]\n".encode() if self.left_out else b""
        return bytes(self.head) + mark + bytes(self.tail)

    @property
    def left_out(self) -> int:
        return self.total - len(self.head) - len(self.tail)


class Guest:
    """Serves one sandbox until the host is gone. ``enter`` runs in every child, before its code does."""

    def __init__(
        self,
        source: int,
        sink: int,
        lifeline: int,
        settings: Settings,
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        self.source, self.sink, self.lifeline = source, sink, lifeline
        self.settings, self.enter = settings, enter
        self.until = time.monotonic() + settings.lifetime
        self.folder = Folder(settings.work, settings.disk_mb, settings.file_mb)
        self.null = os.open("/dev/null", os.O_RDWR)
        with open("/proc/self/statm", "rb") as file:
            self.loaded = int(file.read().split()[0]) * resource.getpagesize()
        self.resident = resident(os.getpid())
        self.room = MAX_ENTRIES

    def serve(self) -> None:
        """Answers requests until the host's end, or the lifeline, closes; then ends every process."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        filter_system_calls()
        try:
            self._send({"ready": True})
            while True:
                self._wait_for_request()
                self._answer(*unpack(lambda size: os.read(self.source, size), self.settings.file_mb << 20))
        except (GoneError, BrokenPipeError, ConnectionError):
            pass
        finally:
            end_descendants()

    def _wait_for_request(self) -> None:
        ready = select.poll()
        ready.register(self.source, select.POLLIN)
        ready.register(self.lifeline, 0)
        seconds = min(self.settings.idle, self.until - time.monotonic())
        events = ready.poll(max(0.0, 1000 * seconds))
        if not events or any(fd == self.lifeline for fd, _ in events):
            raise GoneError("the launcher is gone, or the host has forgotten this sandbox")

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        data = memoryview(pack(header, body))
        while data:
            data = data[os.write(self.sink, data) :]

    def _answer(self, header: dict[str, Any], body: bytes) -> None:
        _check(header)
        self.folder.unlock()
        answer: tuple[dict[str, Any], bytes] = ({}, b"")
        try:
            if header["op"] == "run":
                answer = self._run(body.decode(), float(header["timeout"]), int(header["seed"]))
            elif header["op"] == "read":
                answer = {}, self.folder.read(header["path"])
            elif header["op"] == "write":
                self.folder.write(header["path"], body)
            else:
                answer = {}, json.dumps(list(self.folder.files())).encode()
        except FileNotFoundError as error:
            answer = {"error": "missing", "detail": str(error)}, b""
        except (ValueError, OSError) as error:
            answer = {"error": "refused", "detail": str(error)}, b""
        self._send(*answer)

    def _run(self, code: str, timeout: float, seed: int) -> tuple[dict[str, Any], bytes]:
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        streams = {fd: _Stream(self.settings.output_kb << 10) for fd in (out, err)}
        self.room = max(MAX_ENTRIES, self.folder.files_held())  # a full folder may still be tidied
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            self._become(code, seed, out_end, err_end)
        os.close(out_end)
        os.close(err_end)
        pidfd = os.pidfd_open(child)
        try:
            ended = self._watch(pidfd, streams, started + timeout)
            if ended:
                end_descendants()
            _, wait_status, usage = os.wait4(child, 0)
            wall = time.monotonic() - started
            _end_rest()
            for fd, stream in streams.items():
                while data := os.read(fd, 1 << 16):  # ends: nobody is left to write
                    stream.add(data)
        finally:
            for fd in (pidfd, out, err):
                os.close(fd)
        code_ = os.waitstatus_to_exitcode(wait_status)
        status, note = _verdict(ended, code_, timeout, self.settings)
        stdout, stderr = (stream.value() for stream in streams.values())
        answer = {
            "status": status,
            "exit_code": None if ended else code_,
            "truncated": any(stream.left_out for stream in streams.values()),
            "wall_s": wall,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "state_lost": False,
            "stdout": len(stdout),
        }
        return answer, stdout + stderr + note

    def _watch(self, pidfd: int, streams: dict[int, _Stream], deadline: float) -> str:
        """Collects output until the child ends. Returns why it must be ended; "" when it ended itself."""
        ready = select.poll()
        for fd in (pidfd, *streams):
            ready.register(fd, select.POLLIN)
        ready.register(self.source, select.POLLRDHUP)
        ready.register(self.lifeline, 0)
        look = time.monotonic() + TICK
        while (left := deadline - time.monotonic()) > 0:
            for fd, _ in ready.poll(1000 * min(left, TICK) + 1):
                if fd == pidfd:
                    return ""
                if fd not in streams:
                    raise GoneError("the host is gone")
                data = os.read(fd, 1 << 16)
                streams[fd].add(data)
                if not data:
                    ready.unregister(fd)
                elif streams[fd].total > self.settings.output_kb << 16:
                    return "output_limit"
            if self.settings.watch and time.monotonic() > look:
                if over := self._over():
                    return over
                look = time.monotonic() + TICK
        return "timeout"

    def _over(self) -> str:
        """``memory`` or ``disk``, when all processes together have more of it than they may."""
        if "memory" in self.settings.watch:
            pids, limit = descendants(os.getpid()), self.settings.memory_mb << 20
            at_most = {pid: max(0, resident(pid) - self.resident) for pid in pids}
            if sum(at_most.values()) > limit and sum(proportional(*item) for item in at_most.items()) > limit:
                return "memory"
        if "disk" in self.settings.watch and self.folder.full():
            return "disk"
        return "disk" if "files" in self.settings.watch and self.folder.files_held() > self.room else ""

    def _become(self, code: str, seed: int, out: int, err: int) -> NoReturn:
        """Turns this fresh child into the program."""
        status = 70
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else the next line may not open its file
            with contextlib.suppress(PermissionError), open("/proc/self/oom_score_adj", "r+") as file:
                file.write("1000")  # forbidden where files are opened as another user than processes run as
            for fd, target in ((self.null, 0), (out, 1), (err, 2)):
                os.dup2(fd, target)
            self._limit()
            os.chdir(self.settings.work)
            self.enter()
            os.closerange(3, 1 << 16)
            status = run_program(code, seed)
        finally:
            os._exit(status)

    def _limit(self) -> None:
        settings = self.settings
        space = self.loaded + (settings.memory_mb << 20)
        limits = {
            "AS": space,
            "FSIZE": settings.disk_mb << 20,
            "NOFILE": 256,
            "CORE": 0,
            "MEMLOCK": 0,
            "MSGQUEUE": 0,
        }
        if settings.nproc != "off":
            limits["NPROC"] = settings.processes + (1 if settings.nproc == "own" else tasks_of(os.getuid()))
        for name, value in limits.items():
            which = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))


def _check(request: dict[str, Any]) -> None:
    """Raises ``GoneError`` for a request that no host makes: then this is not our host any more."""
    timeout, op = request.get("timeout"), request.get("op")
    fine = {
        "run": isinstance(timeout, int | float) and abs(timeout) < 1e9 and type(request.get("seed")) is int,
        "read": isinstance(request.get("path"), str),
        "write": isinstance(request.get("path"), str),
        "list": True,
    }
    if not isinstance(op, str) or not fine.get(op):
        raise GoneError("what came is no request")


def _end_rest() -> None:
    """Ends and reaps all that an execution left behind; nothing is the usual and the cheap case."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                end_descendants()
                os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _verdict(ended: str, exit_code: int, timeout: float, settings: Settings) -> tuple[str, bytes]:
    """The status, and a line for stderr that says what ended a program that did not end itself."""
    notes = {
        "timeout": ("timeout", f"ended after {timeout:g} seconds"),
        "output_limit": ("output_limit", f"ended for more than {settings.output_kb << 6} KB of output"),
        "memory": ("killed", f"ended for more than {settings.memory_mb} MB of memory"),
        "disk": ("killed", f"ended for more than {settings.disk_mb} MB, or too many, files"),
    }
    if ended:
        status, note = notes[ended]
    elif exit_code >= 0:
        return ("error" if exit_code else "ok"), b""
    else:
        status = "killed" if -exit_code in (signal.SIGKILL, signal.SIGXCPU) else "error"
        note = f"ended by signal {-exit_code}"
    return status, f"[{note}]\n".encode()


def preload(parts: Sequence[str]) -> None:
    """Imports modules, and runs what is no module's name as a program. Raises ``ImportError``."""
    gc.disable()  # of what an import makes next to nothing is garbage, and looking for it takes its time
    for part in parts:
        if part.replace(".", "").isidentifier():
            importlib.import_module(part)
        else:
            _warm_up(part)
    importlib.machinery.PathFinder.find_spec("no module")  # lists every folder now: later that may be denied
    tempfile.tempdir = None  # whoever asked for one before did so outside
    gc.enable()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page of the libraries


def _warm_up(program: str) -> None:
    """Runs a program of the host's for what it leaves behind: what libraries import and look up late."""
    try:
        exec(compile(program, "<preload>", "exec"), {"__name__": "__main__"})
    except Exception as error:
        raise ImportError(f"a program to warm up: {type(error).__name__}: {error}") from None
    if len(os.listdir("/proc/self/task")) > 1:
        raise ImportError("a program to warm up left threads, which no fork has")


def main() -> None:
    """In a container, started with the sources on stdin: the first frame says what to be."""
    header, _ = unpack(lambda size: os.read(0, size), 0)
    sink = os.dup(1)
    os.dup2(2, 1)  # nothing but frames may reach the host
    try:
        preload(header["preload"])
    except ImportError as error:
        os.write(sink, pack({"ready": False, "error": f"cannot preload: {error}"}))
        return
    lifeline, _never_closed = os.pipe()
    settings = Settings(**header["settings"])
    Guest(0, sink, lifeline, settings, _fence(settings.work)).serve()


def _fence(work: str) -> Callable[[], None]:
    """What a program in a container gives up besides, where the kernel has Landlock: to write anywhere else
    than into its folders, and to run what it wrote there. In /proc it could make itself the last that the
    kernel's memory killer takes, and this process the first."""
    if landlock.version() < landlock.NEEDED:
        return lambda: None
    folders = filter(os.path.isdir, (work, "/tmp", "/dev/shm"))
    devices = filter(os.path.exists, ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"))
    programs = filter(os.path.isdir, (f"/{name}" for name in os.listdir("/")))
    rules = landlock.ruleset(
        dict.fromkeys(programs, landlock.LOAD)
        | dict.fromkeys(("/", "/dev"), landlock.READ)
        | dict.fromkeys(folders, landlock.CHANGE)
        | dict.fromkeys(devices, landlock.DEVICE)
    )
    return lambda: landlock.restrict(rules)

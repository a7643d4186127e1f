"""Lanes: where one episode runs its programs, be it a sandbox, a container, a server process or plain
commands."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Protocol

from sandbox.base import Sandbox

STARTUP = 120.0
"""Seconds that a command may take, or a container until it connects."""


class MethodError(Exception):
    """A method cannot start on this machine, or failed."""


@dataclass(frozen=True)
class Ran:
    """One run of a program: its output and the seconds that the caller waited."""

    stdout: str
    seconds: float


class Lane(Protocol):
    """Runs the programs of one episode, one at a time."""

    def run(self, code: str) -> Ran:
        """Runs a program. Raises ``MethodError`` if it fails."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class SandboxLane:
    """One of our sandboxes."""

    sandbox: Sandbox

    def run(self, code: str) -> Ran:
        started = time.perf_counter()
        result = self.sandbox.run(code)
        seconds = time.perf_counter() - started
        if result.status != "ok":
            raise MethodError(f"{result.status}: {result.stderr}")
        return Ran(result.stdout, seconds)

    def close(self) -> None:
        self.sandbox.close()


@dataclass(frozen=True)
class Command:
    """Starts a process for each program, which is its last argument; ``end`` is the command that closes
    it."""

    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    end: tuple[str, ...] = ()

    def run(self, code: str) -> Ran:
        started = time.perf_counter()
        stdout = output([*self.command, code], self.environment)
        return Ran(stdout, time.perf_counter() - started)

    def close(self) -> None:
        if self.end:
            output(self.end)


def output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Returns the output of a command. Raises ``MethodError`` if it fails or takes longer than
    ``STARTUP``."""
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=STARTUP, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MethodError(str(error)) from None
    if done.returncode:
        raise MethodError(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


class Worker:
    """A server that runs programs sent as JSON lines: ``forkserver.py`` or ``peers.py``."""

    def __init__(
        self, sink: IO[bytes], source: IO[bytes], end: Callable[[], None], started: float | None = None
    ) -> None:
        """Waits until the server is ready. ``started``: when it was started, unless it reports its own
        seconds.

        Raises ``MethodError``.
        """
        self._sink, self._source, self._end = sink, source, end
        try:
            reply = self._reply()
        except MethodError:
            self.close()
            raise
        self.seconds = float(reply.get("seconds", time.perf_counter() - (started or 0.0)))
        self.version = str(reply.get("version", ""))

    def run(self, code: str) -> Ran:
        started = time.perf_counter()
        try:
            self._sink.write(json.dumps({"code": code}).encode() + b"\n")
            self._sink.flush()
        except OSError as error:
            raise MethodError(str(error)) from None
        reply = self._reply()
        return Ran(reply["stdout"], float(reply.get("seconds", time.perf_counter() - started)))

    def _reply(self) -> dict[str, Any]:
        line = self._source.readline()
        reply: dict[str, Any] = (
            json.loads(line) if line else {"error": "the process ended without an error message"}
        )
        if "error" in reply:
            raise MethodError(reply["error"])
        return reply

    def close(self) -> None:
        for stream in (self._sink, self._source):
            with contextlib.suppress(OSError):
                stream.close()
        self._end()


def in_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Worker:
    """Returns a worker in a process on this machine. Raises ``MethodError``."""
    started = time.perf_counter()
    try:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise MethodError(str(error)) from None
    assert process.stdin is not None
    assert process.stdout is not None

    def end() -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
            return
        process.kill()
        process.wait()

    return Worker(process.stdin, process.stdout, end, started)


def in_container(flags: Sequence[str], program: Path, arguments: Sequence[str]) -> Worker:
    """Returns a worker in a container on this machine, whose ``program`` connects to a socket of this
    process.

    ``flags``: the options of docker run, and the image as the last one. This is the shortest way into a
    container, because neither a command line nor the daemon is in between. Raises ``MethodError``.
    """
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(1)
        listener.settimeout(STARTUP)
        started = time.perf_counter()
        mounts = [f"--volume={folder}:/host:ro", f"--volume={program}:/program.py:ro"]
        command = ["docker", "run", "--rm", "--detach", *mounts, *flags]
        container = output([*command, "python3", "-P", "/program.py", "/host/socket", *arguments]).strip()

        def end() -> None:
            output(["docker", "rm", "--force", container])

        try:
            stream, _ = listener.accept()
        except OSError as error:
            end()
            raise MethodError(f"the container did not connect: {error}") from None
        with stream:
            return Worker(stream.makefile("wb"), stream.makefile("rb"), end, started)

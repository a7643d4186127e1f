"""A lane is what one episode would have: a sandbox, a container, a server's process, or nothing at all."""

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
"""Seconds that a command may take, and a container to connect."""


class MethodError(Exception):
    """A method cannot start here, or did not do what it was asked."""


@dataclass(frozen=True)
class Ran:
    """One program's run: what it printed, and how long its caller waited, in seconds."""

    stdout: str
    seconds: float


class Lane(Protocol):
    """One episode's place to run programs in, one at a time."""

    def run(self, code: str) -> Ran:
        """Raises ``MethodError`` when the program failed."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Box:
    """A sandbox of ours."""

    box: Sandbox

    def run(self, code: str) -> Ran:
        started = time.perf_counter()
        result = self.box.run(code)
        seconds = time.perf_counter() - started
        if result.status != "ok":
            raise MethodError(f"{result.status}: {result.stderr}")
        return Ran(result.stdout, seconds)

    def close(self) -> None:
        self.box.close()


@dataclass(frozen=True)
class Command:
    """A process for each program, which is its last argument; ``end`` is run to close."""

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
    """What a command prints. Raises ``MethodError`` when it fails or takes longer than ``STARTUP``."""
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
    """A server that runs the programs which it is sent as JSON lines: ``forkserver.py`` or ``peers.py``."""

    def __init__(
        self, sink: IO[bytes], source: IO[bytes], end: Callable[[], None], started: float | None = None
    ) -> None:
        """Returns when it is ready. ``started``: when that began; it may say itself how long it took.

        Raises ``MethodError``.
        """
        self._sink, self._source, self._end = sink, source, end
        try:
            answer = self._answer()
        except MethodError:
            self.close()
            raise
        self.seconds = float(answer.get("seconds", time.perf_counter() - (started or 0.0)))
        self.version = str(answer.get("version", ""))

    def run(self, code: str) -> Ran:
        started = time.perf_counter()
        try:
            self._sink.write(json.dumps({"code": code}).encode() + b"\n")
            self._sink.flush()
        except OSError as error:
            raise MethodError(str(error)) from None
        answer = self._answer()
        return Ran(answer["stdout"], float(answer.get("seconds", time.perf_counter() - started)))

    def _answer(self) -> dict[str, Any]:
        line = self._source.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in answer:
            raise MethodError(answer["error"])
        return answer

    def close(self) -> None:
        for stream in (self._sink, self._source):
            with contextlib.suppress(OSError):
                stream.close()
        self._end()


def in_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Worker:
    """A worker that is a process of this machine. Raises ``MethodError``."""
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
    """A worker in a container of a daemon on this machine, whose ``program`` connects to a socket of ours.

    ``flags``: of docker run, and last the image. That is the shortest way there is into a container: no
    command line and no daemon is between. Raises ``MethodError``.
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

"""The ways to run a program that are compared: our backends, and what else one could do.

A method opens lanes. A lane is what one episode would have: a sandbox, a container, or nothing at all."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import conf
from sandbox.base import Backend, Sandbox, SandboxError, SandboxSpec
from sandbox.boot import ENVIRONMENT

_HERE = Path(__file__).parent
Kind = Literal["ours", "peer"]


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
class Opened:
    """A lane, and the seconds until it was ready; None where there is nothing to start."""

    lane: Lane
    seconds: float | None


@dataclass(frozen=True)
class Method:
    """One row of the tables. ``open`` and ``close`` raise ``MethodError``."""

    name: str
    kind: Kind
    note: str
    open: Callable[[], Opened]
    close: Callable[[], None] = lambda: None
    guarantees: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def preload() -> tuple[str, ...]:
    """What sandboxes and the fork server have imported: what the data science environment asks for."""
    return tuple(map(str, conf.load("env", "dsbench").preload))


# ---- ours
# --------------------------------------------------------------------------------------------------


def backend(name: str, **settings: Any) -> Backend:
    """One of our backends. Raises ``MethodError`` where it cannot start."""
    try:
        built: Backend = conf.build("sandbox", conf.load("sandbox", name, **settings))
    except SandboxError as error:
        raise MethodError(str(error)) from None
    return built


@dataclass(frozen=True)
class _Box:
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


def _ours(name: str, note: str, config: str, **settings: Any) -> Method:
    built = backend(config, **settings)
    spec = SandboxSpec(preload())

    def opened() -> Opened:
        started = time.perf_counter()
        box = built.open(spec)
        return Opened(_Box(box), time.perf_counter() - started)

    return Method(
        name, "ours", note, opened, built.close, tuple(sorted(built.guarantees)), dict(built.versions)
    )


# ---- commands
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Command:
    """A process for each program, which is its last argument."""

    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    end: tuple[str, ...] = ()

    def run(self, code: str) -> Ran:
        started = time.perf_counter()
        stdout = _output([*self.command, code], self.environment)
        return Ran(stdout, time.perf_counter() - started)

    def close(self) -> None:
        if self.end:
            _output(self.end)


def _output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints. Raises ``MethodError`` when it fails or takes two minutes."""
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MethodError(str(error)) from None
    if done.returncode:
        raise MethodError(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def _subprocess() -> Method:
    lane = _Command((sys.executable, "-c"), ENVIRONMENT)
    return Method("subprocess", "peer", "python -c, no isolation", lambda: Opened(lane, None))


def _flags() -> list[str]:
    """The restrictions that the docker backend sets, for containers that the command line starts."""
    owned = "rw,nosuid,nodev,noexec,nr_inodes=4096,uid=65534,gid=65534,mode=0700"
    flags = "--network none --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 65"
    flags += " --memory 1104m --memory-swap 1104m --cpus 1 --user 65534:65534 --ipc private --shm-size 16m"
    flags += f" --ulimit nofile=256 --ulimit core=0 --tmpfs /work:{owned},size=64m"
    flags += f" --tmpfs /tmp:{owned},size=16m --log-driver none"
    return [*flags.split(), *(f"--env={name}={ENVIRONMENT[name]}" for name in ENVIRONMENT if name != "PATH")]


def _image() -> str:
    """The image of the docker backend. Raises ``MethodError`` where it is not, or no daemon answers."""
    from sandbox import image  # brings the docker library, which a machine without Docker may lack

    _output(["docker", "image", "inspect", name := image.tag()])
    return name


def _docker_run() -> Method:
    command = ("docker", "run", "--rm", *_flags(), _image(), "python3", "-c")
    lane = _Command(command)
    return Method(
        "docker run", "peer", "a fresh container each, with our restrictions", lambda: Opened(lane, None)
    )


def _docker_exec() -> Method:
    image, run = _image(), uuid.uuid4().hex

    def opened() -> Opened:
        name = f"benchmark-{uuid.uuid4().hex}"
        started = time.perf_counter()
        _output(["docker", "run", "--rm", "--detach", "--init", "--name", name, "--label", f"benchmark={run}",
                 *_flags(), image, "sleep", "infinity"])  # fmt: skip
        seconds = time.perf_counter() - started
        lane = _Command(("docker", "exec", name, "python3", "-c"), end=("docker", "rm", "--force", name))
        return Opened(lane, seconds)

    return Method("docker exec", "peer", "a warm container an episode, with our restrictions", opened)


# ---- workers
# -----------------------------------------------------------------------------------------------


class _Worker:
    """A process that runs the programs which it is sent as JSON lines: ``forkserver.py`` or ``peers.py``."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Returns when it is ready. Raises ``MethodError``."""
        started = time.perf_counter()
        try:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise MethodError(str(error)) from None
        try:
            answer = self._answer()
        except MethodError:
            self.close()
            raise
        self.seconds = float(answer.get("seconds", time.perf_counter() - started))
        self.version = str(answer.get("version", ""))

    def run(self, code: str) -> Ran:
        assert self._process.stdin is not None
        started = time.perf_counter()
        try:
            self._process.stdin.write(json.dumps({"code": code}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise MethodError(str(error)) from None
        answer = self._answer()
        return Ran(answer["stdout"], float(answer.get("seconds", time.perf_counter() - started)))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in answer:
            raise MethodError(answer["error"])
        return answer

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
                return
            process.kill()


def _fork_server() -> Method:
    command = (sys.executable, "-P", str(_HERE / "forkserver.py"), *preload())

    def opened() -> Opened:
        worker = _Worker(command, ENVIRONMENT)
        return Opened(worker, worker.seconds)

    return Method(
        "fork server", "peer", "imports done, a fork each, no isolation: the least there is", opened
    )


def _peer(peers_python: str, distribution: str, note: str, **settings: Any) -> Method:
    """A public sandbox. Starts one to see that it can, and which version it is."""
    given = json.dumps({"environment": {**ENVIRONMENT, "PATH": "/usr/local/bin:/usr/bin:/bin"}, **settings})
    command = (peers_python, "-P", str(_HERE / "peers.py"), distribution, given)
    first = _Worker(command)
    first.close()

    def opened() -> Opened:
        worker = _Worker(command)
        return Opened(worker, worker.seconds)

    return Method(distribution, "peer", note, opened, versions={distribution: first.version})


def available(peers_python: str) -> dict[str, Callable[[], Method]]:
    """Every method by its name, and how to make it, which raises ``MethodError`` where it cannot start."""
    local = "our guest in a process"
    return {
        "docker": lambda: _ours("docker", "our guest in a container", "docker", pool=0),
        "namespaces": lambda: _ours("namespaces", local, "local", mode="namespaces"),
        "bwrap": lambda: _ours("bwrap", local, "local", mode="bwrap"),
        "landlock": lambda: _ours("landlock", local, "local", mode="landlock"),
        "fork server": _fork_server,
        "docker exec": _docker_exec,
        "docker run": _docker_run,
        "subprocess": _subprocess,
        "llm-sandbox": lambda: _peer(
            peers_python, "llm-sandbox", "docker session.run, our image, few limits", image=_image()
        ),
        "swe-rex": lambda: _peer(
            peers_python, "swe-rex", "local execute, no isolation", python=sys.executable
        ),
    }

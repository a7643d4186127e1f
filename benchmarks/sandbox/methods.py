"""The compared ways to run a program: our backends and the alternatives."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import conf
from benchmarks.sandbox.lanes import Command, Lane, MethodError, SandboxLane, in_container, in_process, output
from sandbox.base import Backend, SandboxError, SandboxSpec
from sandbox.host.boot import ENVIRONMENT

_FORK_SERVER, _PEERS = (Path(__file__).with_name(name) for name in ("forkserver.py", "peers.py"))
_LONGEST = "7200"
"""Seconds after which a container ends by itself, in case this process is killed before it removes it."""
Kind = Literal["ours", "peer"]


@dataclass(frozen=True)
class Opened:
    """A lane and the seconds until it was ready; None where nothing is started in advance."""

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
    """Returns the imports of sandboxes and fork servers: the preload of the data science environment."""
    return tuple(map(str, conf.load("env", "dsbench").preload))


def backend(name: str, **settings: Any) -> Backend:
    """Returns one of our backends. Raises ``MethodError`` if it cannot start here."""
    try:
        built: Backend = conf.build("sandbox", conf.load("sandbox", name, **settings))
    except SandboxError as error:
        raise MethodError(str(error)) from None
    return built


def _ours(name: str, note: str, config: str, **settings: Any) -> Method:
    built = backend(config, **settings)
    spec = SandboxSpec(preload())

    def opened() -> Opened:
        started = time.perf_counter()
        box = built.open(spec)
        return Opened(SandboxLane(box), time.perf_counter() - started)

    return Method(
        name, "ours", note, opened, built.close, tuple(sorted(built.guarantees)), dict(built.versions)
    )


def _subprocess() -> Method:
    lane = Command((sys.executable, "-c"), ENVIRONMENT)
    return Method("subprocess", "peer", "python -c, no isolation", lambda: Opened(lane, None))


def _flags() -> list[str]:
    """Returns docker options that set the restrictions of the docker backend."""
    owned = "rw,nosuid,nodev,noexec,nr_inodes=4096,uid=65534,gid=65534,mode=0700"
    flags = "--network none --read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 65"
    flags += " --memory 1104m --memory-swap 1104m --cpus 1 --user 65534:65534 --ipc private --shm-size 16m"
    flags += f" --ulimit nofile=256 --ulimit core=0 --tmpfs /work:{owned},size=64m"
    flags += f" --tmpfs /tmp:{owned},size=16m --log-driver none"
    return [*flags.split(), *_environment()]


def _environment() -> list[str]:
    return [f"--env={name}={value}" for name, value in ENVIRONMENT.items() if name != "PATH"]


def _image() -> str:
    """Returns the image of the docker backend. Raises ``MethodError`` if it is missing or no daemon
    answers."""
    from sandbox import image  # imports the docker library, which may not be installed

    output(["docker", "image", "inspect", name := image.tag()])
    return name


def _docker_run() -> Method:
    command = ("docker", "run", "--rm", *_flags(), _image(), "python3", "-c")
    lane = Command(command)
    return Method(
        "docker run",
        "peer",
        "a fresh container for each program, with our restrictions",
        lambda: Opened(lane, None),
    )


def _docker_exec() -> Method:
    image, run = _image(), uuid.uuid4().hex

    def opened() -> Opened:
        name = f"benchmark-{uuid.uuid4().hex}"
        started = time.perf_counter()
        output(["docker", "run", "--rm", "--detach", "--init", "--name", name, "--label", f"benchmark={run}",
                 *_flags(), image, "sleep", _LONGEST])  # fmt: skip
        seconds = time.perf_counter() - started
        lane = Command(("docker", "exec", name, "python3", "-c"), end=("docker", "rm", "--force", name))
        return Opened(lane, seconds)

    return Method("docker exec", "peer", "a warm container for each episode, with our restrictions", opened)


def _fork_server() -> Method:
    command = (sys.executable, "-P", str(_FORK_SERVER), "-", *preload())

    def opened() -> Opened:
        worker = in_process(command, ENVIRONMENT)
        return Opened(worker, worker.seconds)

    return Method(
        "fork server",
        "peer",
        "a fork for each program after all imports, no isolation: the lower bound",
        opened,
    )


def _fork_server_in_image() -> Method:
    flags = ["--network=none", "--user=0:0", "--log-driver=none", *_environment(), _image()]

    def opened() -> Opened:
        worker = in_container(flags, _FORK_SERVER, preload())
        return Opened(worker, worker.seconds)

    note = "the same with the image's Python, in a container without restrictions"
    return Method("fork server, image", "peer", note, opened)


def _peer(peers_python: str, distribution: str, note: str, **settings: Any) -> Method:
    """Returns a public sandbox. Starts one to check that it works, and to learn its version."""
    given = json.dumps({"environment": {**ENVIRONMENT, "PATH": "/usr/local/bin:/usr/bin:/bin"}, **settings})
    command = (peers_python, "-P", str(_PEERS), distribution, given)
    first = in_process(command)
    first.close()

    def opened() -> Opened:
        worker = in_process(command)
        return Opened(worker, worker.seconds)

    return Method(distribution, "peer", note, opened, versions={distribution: first.version})


def available(peers_python: str) -> dict[str, Callable[[], Method]]:
    """Returns name -> how to make the method, which raises ``MethodError`` if it cannot start here."""
    local = "our guest in a process"
    return {
        "docker": lambda: _ours("docker", "our guest in a container", "docker", pool=0),
        "namespaces": lambda: _ours("namespaces", local, "local", mode="namespaces"),
        "bwrap": lambda: _ours("bwrap", local, "local", mode="bwrap"),
        "landlock": lambda: _ours("landlock", local, "local", mode="landlock"),
        "fork server": _fork_server,
        "fork server, image": _fork_server_in_image,
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

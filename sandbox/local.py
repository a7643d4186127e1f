"""Sandboxes without a daemon, isolated by the kernel alone.

``mode: namespaces`` forks each sandbox out of a process that has its libraries loaded. It guarantees
everything in ``GUARANTEES``: no network, files or processes of the machine. Rlimits bound the memory and
processes of each process; their sums are bounded by the kernel's count per user and a measurement at least
every 0.1 s, so a burst may exceed the limit for that long. Locks of files that sandboxes share can pass bits
from one to another. Not covered: kernel memory (descriptors, page tables), CPU
time within the timeout, and vulnerabilities of the shared kernel.

``mode: bwrap`` guarantees the same where only ``bwrap`` (bubblewrap) may make namespaces. Each sandbox
imports its libraries itself, so ``pool`` and ``starting`` apply here. The measurement every 0.1 s bounds the
number of files; and where the kernel lacks Landlock, a program can execute what it wrote, isolated as itself.

``mode: landlock`` lacks ``pidns`` (the existence of other processes, not their content, can be inferred, as
can names and sizes of files) and ``disk`` (only the measurement every 0.1 s bounds it). Where we are not root
and processes are counted per user, the user's own processes count too.

``mode: none`` is no isolation at all, only limits against accidents. It must be requested explicitly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import platform
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conf.ranges import Count, Natural, Positive
from sandbox.base import GUARANTEES, Limits, Sandbox, SandboxError, SandboxSpec
from sandbox.guest import landlock
from sandbox.host import boot, libraries
from sandbox.host.client import GuestSandbox
from sandbox.isolation.bwrap import Bubblewrap

MODES = ("namespaces", "bwrap", "landlock")
"""The modes that isolate, the best first."""
_GUARANTEES = {
    "namespaces": GUARANTEES,
    "bwrap": GUARANTEES,
    "landlock": GUARANTEES - {"disk", "pidns"},
    "none": frozenset[str](),
}
_KERNEL = frozenset({"more than the limit in the kernel's buffers", "no lock reaches another sandbox"})
_DISK = frozenset({"filling the disk in one call", "filling the disk with files that have no name"})
_NOTICED = frozenset({"a process outside can be noticed", "names, sizes and targets of the machine's files"})
_SCORES = frozenset(
    {"a lower score for the OOM killer", "a share of the processor for each of its processes"}
)
_SEMAPHORES = frozenset({"processes start by every method"})
"""The C library makes named semaphores in the machine's own /dev/shm only."""
_USER = frozenset({"what is counted per user is not shared"})
"""Only root can give each sandbox a user of its own."""
STARTUP = 180.0
"""Seconds for the imports of a fork server."""
_CHECK = """
import socket
def denied(action):
    try: action()
    except OSError: return True
print(denied(socket.socket), *(denied(lambda: open(path)) for path in {paths!r}))
"""


class Launcher(Protocol):
    """Starts the sandboxes of one mode."""

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Opens a sandbox with the limits of ``spec``. Raises ``SandboxError``."""
        ...

    def close(self) -> None:
        """Ends every sandbox. Safe to call twice."""
        ...


class Local:
    """Opens sandboxes on this machine."""

    has_sessions = True

    @dataclass(frozen=True)
    class Config:
        mode: str
        """``auto``: the first of ``MODES`` that isolates here."""
        pool: Natural
        """Sandboxes kept ready for each spec, where they start slowly: in ``mode: bwrap``."""
        starting: Count
        """How many start at once; the imports of each occupy a core for a second."""
        allow_unisolated: bool
        """Run without isolation where no mode works, instead of refusing."""
        limits: dict[str, Positive]
        """Limits of a sandbox whose spec has none."""

    def __init__(self, config: Config) -> None:
        """Raises ``SandboxError`` when no allowed mode isolates programs here."""
        self.limits = Limits.read(config.limits)
        self.mode = _choose(config)
        self._launcher = _launcher(self.mode, config.pool, config.starting)
        self.name = f"local-{self.mode}"
        self.guarantees = _GUARANTEES[self.mode]
        self.known_gaps = _gaps(self.mode)
        self.versions: Mapping[str, str] = {"python": platform.python_version(), **libraries.installed()}

    def open(self, spec: SandboxSpec) -> Sandbox:
        self.versions = {**self.versions, **libraries.installed(spec.libraries)}
        return self._launcher.open(dataclasses.replace(spec, limits=spec.limits or self.limits))

    def resources(self) -> frozenset[str]:
        return frozenset()  # everything is below this process, or in a work folder of its descendants

    def close(self) -> None:
        self._launcher.close()


def _launcher(mode: str, pool: int, starting: int) -> Launcher:
    """Returns what starts sandboxes in ``mode``. Raises ``SandboxError``."""
    return Bubblewrap(pool, starting) if mode == "bwrap" else _ForkServers(mode)


def _gaps(mode: str) -> frozenset[str]:
    """Returns the checks of ``sandbox.contract`` that fail in ``mode``."""
    shared = _USER if os.geteuid() and mode != "none" else frozenset[str]()
    if mode == "landlock":
        return _KERNEL | _DISK | _NOTICED | _SEMAPHORES | shared
    if mode == "bwrap" and landlock.version() < landlock.NEEDED:
        return _KERNEL | {"executing what it wrote"} | _SCORES | shared
    return frozenset() if mode == "none" else _KERNEL | shared


def _choose(config: Local.Config) -> str:
    if config.mode not in (*MODES, "auto"):
        raise SandboxError(f"mode must be auto, {', '.join(MODES)}, not {config.mode!r}")
    reasons = {}
    for mode in MODES if config.mode == "auto" else (config.mode,):
        try:
            _verify(mode)
        except SandboxError as error:
            reasons[mode] = str(error)
        else:
            return mode
    reason = "; ".join(f"{mode}: {why}" for mode, why in reasons.items())
    if not config.allow_unisolated:
        raise SandboxError(reasons.get(config.mode) or f"programs cannot be isolated here: {reason}")
    logging.getLogger(__name__).warning("programs run WITHOUT ISOLATION (%s)", reason)
    return "none"


def _verify(mode: str) -> None:
    """Opens a sandbox and checks from inside that it isolates. Raises ``SandboxError``."""
    launcher = _launcher(mode, pool=0, starting=1)
    try:
        with tempfile.NamedTemporaryFile() as canary:
            os.fchmod(canary.fileno(), 0o644)
            with contextlib.closing(launcher.open(SandboxSpec(limits=Limits()))) as box:
                result = box.run(_CHECK.format(paths=[canary.name, __file__]), timeout=20)
    finally:
        launcher.close()
    if result.stdout.split() != ["True"] * 3:
        raise SandboxError(f"not isolated (sockets, files, our files): {result.stdout}{result.stderr}")


class _ForkServers:
    """One fork server for each set of preloaded modules and libraries, started when it is first used."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._lock = threading.Lock()
        self._servers: dict[SandboxSpec, _ForkServer] = {}
        self._closed = False

    def open(self, spec: SandboxSpec) -> Sandbox:
        return self._server(dataclasses.replace(spec, limits=None)).open(spec.limits or Limits())

    def close(self) -> None:
        with self._lock:
            self._closed = True
            servers = list(self._servers.values())
        for server in servers:
            server.close()

    def _server(self, spec: SandboxSpec) -> _ForkServer:
        with self._lock:
            if self._closed:
                raise SandboxError("the backend is closed")
            server = self._servers.get(spec)
            if server is None or not server.alive:
                shown = libraries.closure(spec.libraries)
                server = self._servers[spec] = _ForkServer(self._mode, spec.preload, shown)
            return server


class _ForkServer:
    """The host's side of a ``sandbox.isolation.fork_server`` process."""

    def __init__(self, mode: str, preload: tuple[str, ...], shown: Sequence[libraries.Library] = ()) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            sys.executable,
            "-P",
            "-m",
            "sandbox.isolation.fork_server",
            str(theirs.fileno()),
            mode,
            json.dumps(preload),
            json.dumps(libraries.paths_of(shown)),
        ]
        search = [str(Path(__file__).parent.parent), *libraries.search_path(shown)]
        environment = {**boot.ENVIRONMENT, "PYTHONPATH": os.pathsep.join(search)}
        with theirs:
            self._process = subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self._control.settimeout(STARTUP)
        try:
            reply = json.loads(self._control.recv(1 << 16) or b"{}")
        except OSError as error:
            reply = {"error": str(error)}
        if not reply.get("ready"):
            self.close()
            raise SandboxError(reply.get("error", "the fork server ended immediately"))

    @property
    def alive(self) -> bool:
        """Whether it still listens. The socket of a killed process closes before the process can be waited
        for."""
        listening = select.poll()
        listening.register(self._control, 0)
        return self._process.poll() is None and not listening.poll(0)

    def open(self, limits: Limits) -> GuestSandbox:
        ours, theirs = socket.socketpair()
        settings = dataclasses.asdict(limits)
        del settings["timeout"]
        with theirs:
            try:
                with self._lock:
                    socket.send_fds(self._control, [json.dumps(settings).encode()], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise SandboxError(f"the fork server is gone: {error}") from None
        box = GuestSandbox(_Stream(ours), limits)
        box.wait(30)
        return box

    def close(self) -> None:
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
            return
        self._process.kill()
        self._process.wait()


class _Stream:
    """A socket. ``close`` returns once the guest has ended all its processes."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self.settimeout, self.sendall, self.recv = stream.settimeout, stream.sendall, stream.recv

    def close(self) -> None:
        with contextlib.suppress(OSError), self._stream:
            self._stream.shutdown(socket.SHUT_WR)
            self._stream.settimeout(5)
            while self._stream.recv(1 << 16):
                pass

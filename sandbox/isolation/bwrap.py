"""Mode ``bwrap``: puts guests into roots of their own with bubblewrap, for machines where no other program
may make namespaces: some distributions allow that to it alone.

Each sandbox imports its libraries itself, so a pool hides the start. It can write only to one tmpfs, which is
removed with it. When we are root, it runs as a user that nobody else has: root, whatever a user namespace
calls it, is bound by no limit on processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from sandbox.base import Limits, LostError, Sandbox, SandboxError, SandboxSpec
from sandbox.guest.processes import descendants
from sandbox.host import boot
from sandbox.host.client import GuestSandbox
from sandbox.host.libraries import Library, closure, paths_of, search_path
from sandbox.host.owner import dead, owner
from sandbox.host.pool import Pool, Warm
from sandbox.host.users import local_users
from sandbox.isolation import view

STARTUP = 180.0
"""Seconds for a guest to import what it preloads."""
_PATIENCE = 5.0
_TEMPORARY = f"{view.WORK}/.tmp"
_ISOLATED = (
    "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1",
    "--cap-drop", "ALL", "--clearenv", "--hostname", "sandbox", "--uid", "65534", "--gid", "65534",
)  # fmt: skip
_AS_USER = """
import json, sys
from sandbox.isolation.privileges import run_as
run_as(int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:])
"""


class Bubblewrap:
    """Starts a ``bwrap`` for each sandbox."""

    def __init__(self, pool: int, starting: int) -> None:
        """``pool``: sandboxes kept ready for each kind; ``starting``: those that start at once.

        Raises ``SandboxError`` when there is no ``bwrap``.
        """
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxError("bwrap is missing: install bubblewrap, 0.8 or newer")
        self._program = os.path.realpath(program)
        self._lock = threading.Lock()
        self._open: dict[subprocess.Popen[bytes], int] = {}
        """Running ones, and their users."""
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        threading.Thread(target=_parent, args=(self._orders,), name="sandbox-parent", daemon=True).start()
        self._pool = Pool(self._start, pool, starting)

    def open(self, spec: SandboxSpec) -> Sandbox:
        """Raises ``SandboxError``."""
        return self._pool.take(spec)

    def close(self) -> None:
        """Ends every sandbox. Safe to call twice."""
        self._pool.close()
        with self._lock:
            remaining = list(self._open)
        for process in remaining:
            _kill(process)
        self._orders.put(None)

    def _start(self, spec: SandboxSpec) -> Warm:
        limits = spec.limits or Limits()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._launch(limits, closure(spec.libraries), theirs)
            except OSError as error:
                ours.close()
                raise SandboxError(f"bwrap cannot be started: {error}") from None
        box = GuestSandbox(ours, limits, lambda: self._end(process))
        settings = dataclasses.asdict(limits) | {"work": view.WORK, "nproc": "own"}
        settings["watch"] = ["memory", "files"]  # bwrap's tmpfs bounds bytes, and not the number of files
        del settings["timeout"]
        assert process.stderr is not None
        with process.stderr as messages:
            try:
                ours.settimeout(STARTUP)
                with contextlib.suppress(OSError):  # it has ended already
                    ours.sendall(boot.message(spec.preload, settings))
                box.wait(STARTUP)
            except SandboxError as error:
                box.close()
                raise SandboxError(_reason(error, messages.read())) from None
        return box

    def _launch(
        self, limits: Limits, libraries: Sequence[Library], stream: socket.socket
    ) -> subprocess.Popen[bytes]:
        """Raises ``OSError``."""
        work = ["--perms", "0700", "--size", str(limits.disk_mb << 20), "--tmpfs", view.WORK]
        work += ["--perms", "0700", "--dir", _TEMPORARY, "--chdir", view.WORK, "--remount-ro", "/", "--"]
        command = [
            self._program,
            *_ISOLATED,
            *_view(tuple(libraries)),
            *work,
            sys.executable,
            "-P",
            "-c",
            boot.PROGRAM,
        ]
        users = local_users()
        user = users.take() if users else os.geteuid()
        if users:
            paths = json.dumps(paths_of(libraries))
            command = [sys.executable, "-P", "-c", _AS_USER, str(user), paths, *command]
        order = _Order(command, stream.fileno(), Future())
        self._orders.put(order)
        try:
            process = order.process.result()
        except OSError:
            if users:
                users.release(user)
            raise
        with self._lock:
            self._open[process] = user
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Returns when a sandbox is gone entirely. The end of its input ends it; otherwise it is killed."""
        if not _ended(process):
            _kill(process)
        with self._lock:
            user = self._open.pop(process, None)
        if user is not None and (users := local_users()):
            users.release(user)


class _Order(NamedTuple):
    command: list[str]
    stream: int
    process: Future[subprocess.Popen[bytes]]


def _parent(orders: SimpleQueue[_Order | None]) -> None:
    """Starts processes. They die with the thread that started them, so this one lives as long as the
    backend."""
    environment = boot.ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parents[2])}
    while order := orders.get():
        try:
            process = subprocess.Popen(
                order.command, env=environment, cwd="/", start_new_session=True,
                stdin=order.stream, stdout=order.stream, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            order.process.set_exception(error)
        else:
            order.process.set_result(process)


@cache
def _view(libraries: tuple[Library, ...]) -> tuple[str, ...]:
    """Returns the arguments that define what a sandbox sees besides its work folder."""
    return tuple(_arguments(view.View(paths_of(libraries)), search_path(libraries)))


def _arguments(root: view.View, search: Sequence[str]) -> Iterator[str]:
    for path, link in root.shown().items():
        yield from ("--ro-bind", path, path) if link is None else ("--symlink", link, path)
    for path, inside in root.masked().items():
        yield from ("--perms", "0555", "--tmpfs", path)
        for library in inside:
            yield from ("--ro-bind", library, library)
        yield from ("--remount-ro", path)
    for path in view.DEVICES:
        yield from ("--dev-bind", path, path)
    yield from ("--proc", "/proc", "--symlink", _TEMPORARY, "/dev/shm")
    if root.temporary() == "/tmp":
        yield from ("--symlink", _TEMPORARY, "/tmp")
    for name, value in _environment(search).items():
        yield from ("--setenv", name, value)


def _environment(search: Sequence[str]) -> dict[str, str]:
    own = {"HOME": view.WORK, "TMPDIR": _TEMPORARY}
    if site.getusersitepackages() in sys.path:
        own["PYTHONUSERBASE"] = site.getuserbase()
    if search:
        own["PYTHONPATH"] = os.pathsep.join(search)
    return boot.ENVIRONMENT | own


def _reason(error: SandboxError, stderr: bytes) -> str:
    """Returns why a sandbox did not start: its own error, or the last line of its ``bwrap``."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    if not lines or not isinstance(error, LostError):
        return str(error)
    return lines[-1] + ("; install bubblewrap 0.8 or newer" if "Unknown option" in lines[-1] else "")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
        return True
    return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills every process of a sandbox, and returns when all are gone."""
    below = {pid: owner(pid) for pid in descendants(process.pid)}
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()
    until = time.monotonic() + _PATIENCE
    while not all(name == "gone" or dead(name) for name in below.values()) and time.monotonic() < until:
        time.sleep(0.005)

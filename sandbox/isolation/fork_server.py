"""The fork server of local sandboxes: imports the libraries once, and forks a guest for every sandbox.

It never sees what an agent wrote, so nothing passes from one sandbox to the next. A message on its control
socket is one frame's header with one descriptor, the guest's end of the sandbox's own connection. When that
socket closes, it ends, and every guest with it; guests also watch a lifeline, so that none is left if the
server dies first.

Started as ``python -P -m sandbox.isolation.fork_server <control descriptor> <mode> <preload> <libraries>``.
The last two are lists as JSON: of modules, and of the paths of visible libraries.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.guest import landlock
from sandbox.guest.folder import remove
from sandbox.guest.frames import pack
from sandbox.guest.huge_pages import in_huge_pages
from sandbox.guest.preload import preload
from sandbox.guest.processes import end_descendants
from sandbox.guest.seccomp import filter_on_host, libc
from sandbox.guest.server import Guest
from sandbox.guest.settings import UNCONFINED, Confinement, Settings
from sandbox.host.owner import FOLDER, SHELF, dead, folder_owner, folder_prefix
from sandbox.host.users import local_users
from sandbox.isolation import namespaces, rules
from sandbox.isolation.privileges import drop_rights, readable_by_all
from sandbox.isolation.view import WORK, View

_PR_SET_CHILD_SUBREAPER = 36
GRACE = 2.0
"""Seconds that guests have to end by themselves once the control socket closed."""


class _Guest(NamedTuple):
    """What has to be given back when a guest has ended."""

    user: int
    work: str | None
    """Its work folder, where that is on disk."""


class ForkServer:
    """Serves one control socket."""

    def __init__(self, control: socket.socket, mode: str, view: View) -> None:
        self.control, self.mode, self.view = control, mode, view
        self.lifeline, self.life = os.pipe()
        self.guests: dict[int, _Guest] = {}
        self.users = local_users()
        self.shelf = _shelf(view) if mode == "landlock" else None
        """A folder with links to the libraries, on disk."""
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def serve(self) -> None:
        """Forks guests until the control socket closes; then ends them and removes their folders."""
        wake, wake_end = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        ready = select.poll()
        ready.register(self.control, select.POLLIN)
        ready.register(wake, select.POLLIN)
        while True:
            for fd, _ in ready.poll():
                if fd == wake:
                    os.read(wake, 4096)
                    self._reap()
                elif not self._open():
                    self._close()
                    return

    def _open(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self.control, 1 << 16, 1)
        if not message:
            return False
        try:
            user = self.users.take() if self.users else os.geteuid()
            work = None if self.mode == "namespaces" else self._folder(user)
            pid = self._fork(fds[0], json.loads(message), user, work)
            self.guests[pid] = _Guest(user, work)
        except OSError as error:
            os.write(fds[0], pack({"ready": False, "error": str(error)}))
        finally:
            os.close(fds[0])
        return True

    def _folder(self, user: int) -> str:
        path = tempfile.mkdtemp(prefix=folder_prefix(os.getpid()))
        os.mkdir(f"{path}/.tmp", 0o700)
        if user != os.geteuid() and readable_by_all():
            for folder in (path, f"{path}/.tmp"):
                os.chown(folder, user, user)
        return path

    def _fork(self, fd: int, settings: dict[str, Any], user: int, work: str | None) -> int:
        """Returns the process id of a new guest in our own pid namespace."""
        pid = namespaces.fork_guest() if work is None else os.fork()
        if pid == 0:
            self._become(
                fd, lambda: self._in_folder(settings, user, work) if work else self._in_root(settings, user)
            )
        return pid

    def _become(self, fd: int, prepare: Callable[[], tuple[Settings, Confinement]]) -> None:
        """Turns this fresh child into a guest. Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self.life)
            self.control.close()
            settings, confinement = prepare()
            Guest(fd, fd, self.lifeline, settings, confinement).serve()
            status = 0
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(fd, pack({"ready": False, "error": str(error)}))
        finally:
            os._exit(status)

    def _in_root(self, given: dict[str, Any], user: int) -> tuple[Settings, Confinement]:
        temporary = self.view.temporary()
        namespaces.mount_guest(given["disk_mb"], user, temporary)
        drop_rights(user, user)
        of_programs = rules.rules_in_root(temporary, landlock.READ)
        landlock.restrict(rules.rules_in_root(temporary, landlock.READ | landlock.DEVICE))
        os.environ.update(HOME=WORK, TMPDIR=temporary)
        settings = Settings(**given, work=WORK, nproc="own", watch=["memory"])
        return settings, Confinement(lambda: landlock.restrict(of_programs), (of_programs,))

    def _in_folder(self, given: dict[str, Any], user: int, work: str) -> tuple[Settings, Confinement]:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.environ.update(HOME=work, TMPDIR=f"{work}/.tmp")
        tempfile.tempdir = None
        nproc = "own" if user != os.geteuid() else "shared"
        settings = Settings(**given, work=work, nproc=nproc, watch=["memory", "disk"])
        if self.mode == "none":
            return settings, UNCONFINED
        readable = (*self.view.libraries, *([self.shelf] if self.shelf else []))
        of_programs = rules.rules_on_host(work, readable, processes=False)
        of_guest = rules.rules_on_host(work, readable, processes=True)
        drop_rights(user, os.stat(work).st_uid)
        landlock.restrict(of_guest)

        def enter() -> None:
            landlock.restrict(of_programs)
            filter_on_host()

        return settings, Confinement(enter, (of_programs,))

    def _reap(self) -> None:
        """Reaps exited children. Removes the folder of a guest that ended, and ends processes that outlived
        it."""
        ended: list[_Guest] = []
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if guest := self.guests.pop(pid, None):
                    ended.append(guest)
        if ended:
            end_descendants(frozenset(self.guests))
        self._give_back(ended)

    def _give_back(self, ended: list[_Guest]) -> None:
        for guest in ended:
            if guest.work:
                remove(guest.work)
            if self.users:
                self.users.release(guest.user)

    def _close(self) -> None:
        os.close(self.life)
        until = time.monotonic() + GRACE
        while self.guests and time.monotonic() < until:
            time.sleep(0.005)
            self._reap()
        for pid in self.guests:
            os.kill(pid, signal.SIGKILL)
        end_descendants()
        ended: list[_Guest] = []
        with contextlib.suppress(ChildProcessError):
            while True:
                if guest := self.guests.pop(os.waitpid(-1, 0)[0], None):
                    ended.append(guest)
        self._give_back(ended)
        if self.shelf:
            remove(self.shelf)


def _shelf(view: View) -> str:
    """Makes the folder from which other interpreters than the fork server's own import libraries."""
    shelf = tempfile.mkdtemp(prefix=folder_prefix(os.getpid(), SHELF))
    os.chmod(shelf, 0o755)
    rules.shelve(view.libraries, shelf)
    os.environ["PYTHONPATH"] = shelf
    sys.path.append(
        shelf
    )  # for programs, too, once somebody installs something: they cannot list folders anew
    return shelf


def remove_orphans() -> None:
    """Removes the folders of fork servers that were killed before they could do so."""
    for kind in (FOLDER, SHELF):
        for folder in Path(tempfile.gettempdir()).glob(f"{kind}*"):
            if dead(folder_owner(folder.name)):
                remove(str(folder))


def _enter_root(view: View) -> None:
    """Moves this process into its own root. Raises ``OSError`` with what the machine lacks."""
    try:
        namespaces.enter_root(view)
    except OSError as error:
        need = "it needs root's rights, or a kernel that lets users make namespaces"
        raise OSError(f"{error.strerror}; {need}") from None


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    mode, modules, view = sys.argv[2], json.loads(sys.argv[3]), View(json.loads(sys.argv[4]))
    ours, _, others = os.environ.pop("PYTHONPATH").partition(os.pathsep)
    sys.path.remove(ours)
    if others:
        os.environ["PYTHONPATH"] = others
    remove_orphans()
    try:
        if mode == "landlock" and landlock.version() < landlock.NEEDED:
            raise OSError(
                "the kernel lacks Landlock, or has an old version: install Linux 6.2 or newer, and enable it"
            )
        if mode == "namespaces":
            _enter_root(view)
            importlib.invalidate_caches()
        if mode == "landlock":
            rules.hide_others(view.libraries)
        with in_huge_pages():
            preload(modules)
    except (OSError, ImportError, ctypes.ArgumentError) as error:
        control.send(json.dumps({"ready": False, "error": str(error)}).encode())
        return
    control.send(json.dumps({"ready": True}).encode())
    ForkServer(control, mode, view).serve()


if __name__ == "__main__":
    main()

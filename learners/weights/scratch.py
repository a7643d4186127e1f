"""Folders through which weights reach engines: in shared memory, and gone when their process is.

A process removes its folders when it needs them no more and when it exits. A reaper, a process that does
nothing else, removes them if it is killed: ``python -m learners.weights.scratch ROOT PID``. Should both be
killed, the next process that makes a folder in the same place removes them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from conf import ConfigError
from sandbox.host.owner import WEIGHTS, dead, folder_owner, folder_prefix

SHARED_MEMORY = Path("/dev/shm")
SETTING = "generator.scratch"

_reapers: dict[Path, subprocess.Popen[bytes]] = {}
"""Of this process, by root."""


class Scratch:
    """Makes and removes folders below ``root``; None: in shared memory, or among temporary files without."""

    def __init__(self, root: Path | None) -> None:
        self.root = root or (SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir()))
        self._folders: set[Path] = set()

    def new(self, key: str | None = None) -> Path:
        """Returns an empty folder. ``key``: ``key_of`` a folder of which it will be a copy.

        Raises:
            ConfigError: none can be made there.
        """
        folder = self.root / f"{folder_prefix(os.getpid(), WEIGHTS)}{key or uuid.uuid4().hex}"
        try:
            remove_orphans(self.root)
            folder.mkdir(mode=0o700)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"weights cannot be written to {self.root} ({SETTING}): {reason}") from None
        self._folders.add(folder)
        _watch(self.root)
        atexit.register(self.close)
        return folder

    def find(self, key: str) -> Path | None:
        """Returns the folder with this key, whichever process made it; None: it is not on this machine."""
        return next(self.root.glob(f"{WEIGHTS}*-{key}"), None)

    def drop(self, folder: Path) -> None:
        """Removes a folder."""
        self._folders.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Removes all folders."""
        for folder in list(self._folders):
            self.drop(folder)
        atexit.unregister(self.close)


def key_of(folder: Path) -> str:
    """Returns what a folder and its copies on other machines share, and no others."""
    return folder.name.rpartition("-")[2]


def check_room(folder: Path, size: int, what: str) -> None:
    """Checks that a file system has room for ``size`` more bytes.

    Raises:
        ConfigError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ConfigError(
            f"{what} need {_gib(size)} in {folder.parent}, which has {_gib(free)} free: make it larger, or "
            f"name another folder with {SETTING}"
        )


def remove_orphans(root: Path) -> None:
    """Removes the folders of processes of this machine that have ended."""
    for folder in root.glob(f"{WEIGHTS}*"):
        if dead(folder_owner(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Returns the bytes of a folder's files."""
    return sum(file.stat().st_size for file in folder.iterdir())


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


def _watch(root: Path) -> None:
    """Starts this process's reaper for ``root``, once."""
    if root in _reapers:
        return
    command = [sys.executable, "-P", "-m", __name__, str(root), str(os.getpid())]
    _reapers[root] = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(_reapers[root].kill)


def main() -> None:
    root, parent = Path(sys.argv[1]), int(sys.argv[2])
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(parent)
        if os.getppid() == parent:
            select.select([watched], [], [])
    remove_orphans(root)


if __name__ == "__main__":
    main()

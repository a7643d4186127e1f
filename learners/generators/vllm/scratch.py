"""Folders through which weights are passed to an engine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


class Scratch:
    """Creates and removes the folders; in shared memory if they fit, else on disk."""

    def __init__(self) -> None:
        self._folders: set[Path] = set()
        self._largest = 0

    def new(self, label: str) -> Path:
        """Returns an empty folder. The first is on disk, as its size is not known yet."""
        for folder in self._folders:
            self._largest = max(self._largest, sum(file.stat().st_size for file in folder.iterdir()))
        known = self._largest > 0 and SHARED_MEMORY.is_dir()
        roomy = known and shutil.disk_usage(SHARED_MEMORY).free > 2 * self._largest
        folder = Path(tempfile.mkdtemp(prefix=f"coachgym-{label}-", dir=SHARED_MEMORY if roomy else None))
        self._folders.add(folder)
        return folder

    def drop(self, folder: Path) -> None:
        """Removes a folder."""
        self._largest = max(self._largest, sum(file.stat().st_size for file in folder.iterdir()))
        self._folders.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Removes all folders."""
        for folder in list(self._folders):
            self.drop(folder)

"""Reads, writes and lists the work folder without ever following a link. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice

MAX_FILES, MAX_DEPTH, MAX_ENTRIES = 1000, 8, 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Folder:
    """The work folder at ``path``. The host chooses names; hostile code creates what they refer to."""

    def __init__(self, path: str, disk_mb: int, file_mb: int) -> None:
        self.path, self.disk, self.file = path, disk_mb << 20, file_mb << 20
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.hashes: dict[tuple[int, ...], str] = {}

    def unlock(self) -> None:
        """Restores the access rights that programs may have removed."""
        os.fchmod(self.fd, 0o700)

    def _parent(self, path: str, create: bool = False) -> tuple[int, str]:
        """Returns a descriptor of the folder that contains ``path``, which the caller closes, and the last
        name."""
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or len(parts) > MAX_DEPTH:
            raise ValueError(f"{path!r} is no path in the work folder")
        os.fsencode(path)  # raises ``ValueError`` for an invalid file name
        folder = os.dup(self.fd)
        try:
            for part in parts[:-1]:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=folder)
                inner = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
        except OSError as error:
            os.close(folder)
            raise FileNotFoundError(f"no folder for {path!r}: {error.strerror}") from None
        return folder, parts[-1]

    def read(self, path: str) -> bytes:
        """Returns the bytes of a regular file. Raises ``FileNotFoundError``, ``ValueError``."""
        folder, name = self._parent(path)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            raise FileNotFoundError(f"no regular file {path!r}: {error.strerror}") from None
        finally:
            os.close(folder)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise FileNotFoundError(f"{path!r} is no regular file")
            if info.st_size > self.file:
                raise ValueError(f"{path!r} has {info.st_size} bytes, more than {self.file}")
            with open(fd, "rb", closefd=False) as file:
                return file.read(info.st_size)
        finally:
            os.close(fd)  # ``open`` would not do so for a folder

    def write(self, path: str, data: bytes) -> None:
        """Creates or replaces a regular file, and its folders. Raises ``OSError``, ``ValueError``."""
        folder, name = self._parent(path, create=True)
        draft = f".{os.urandom(8).hex()}.draft"  # programs could occupy a predictable name
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            try:
                with open(fd, "wb") as file:
                    file.write(data)
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(draft, dir_fd=folder)
                raise
        finally:
            os.close(folder)

    def files(self, settled: bool = True) -> Iterator[tuple[str, int, str]]:
        """Yields path, size and sha256 of at most ``MAX_FILES`` regular files, sorted, without hidden or
        unprintable names.

        ``settled``: nothing runs here. A running program may change a file through a mapping, which changes
        no time.
        """
        entries = _entries(self.fd, "", MAX_DEPTH, _visible)
        regular = ((path, info) for path, info in entries if stat.S_ISREG(info.st_mode))
        budget = 4 * self.disk  # sparse files have large sizes at no cost
        for path, info in sorted(islice(regular, MAX_FILES), key=lambda pair: pair[0]):
            budget -= info.st_size
            yield path, info.st_size, self._hash(path, info, settled) if budget > 0 else ""

    def full(self) -> bool:
        """Returns whether the folder exceeds its limits: for a folder on a disk without quotas."""
        used = files = 0
        for path, info in _entries(self.fd, "", 65, lambda name: True):
            used, files = used + (info.st_blocks << 9), files + 1
            if used > self.disk or files > MAX_ENTRIES or path.count("/") == 64:
                return True
        return False

    def file_count(self) -> int:
        """Returns the number of files, of any kind, on the folder's file system."""
        usage = os.fstatvfs(self.fd)
        return usage.f_files - usage.f_ffree

    def _hash(self, path: str, info: os.stat_result, settled: bool) -> str:
        """Returns the sha256, cached by attributes that change with the content; "" for a file too large to
        read."""
        if info.st_size > self.file:
            return ""
        key = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        if not settled or key not in self.hashes:
            try:
                value = hashlib.sha256(self.read(path)).hexdigest()
            except (OSError, ValueError):
                return ""
            if not settled or time.time_ns() - info.st_ctime_ns < 50_000_000:
                return value  # within the clock's resolution, a second change could look the same
            self.hashes[key] = value
        return self.hashes[key]


def _entries(
    fd: int, prefix: str, depth: int, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yields all entries below the folder ``fd``, ``depth`` levels deep; opens nothing but folders."""
    for name in sorted(filter(wanted, os.listdir(fd))):
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue  # a session's program may be changing the folder
        yield prefix + name, info
        if depth > 1 and stat.S_ISDIR(info.st_mode):
            try:
                inner = os.open(name, _FOLDER, dir_fd=fd)
            except OSError:
                continue  # locked, or not a folder any more
            try:
                yield from _entries(inner, f"{prefix}{name}/", depth - 1, wanted)
            finally:
                os.close(inner)


def remove(path: str) -> None:
    """Removes a folder that no process uses any more, however deep it is and whatever access rights were
    removed.

    What the kernel refuses to remove stays.
    """
    with contextlib.suppress(OSError):
        root = os.open(path, _FOLDER)
        try:
            while True:
                for name in os.listdir(root):
                    with contextlib.suppress(FileNotFoundError):  # another process removes the folder, too
                        _remove_below(root, name)
                if not os.listdir(root):
                    break
        finally:
            os.close(root)
        os.rmdir(path)


def _remove_below(root: int, name: str) -> None:
    """Removes one entry of the folder ``root``. Moves its subfolders up to ``root``, so that depth does not
    matter."""
    if not _is_folder(root, name):
        os.unlink(name, dir_fd=root)
        return
    os.chmod(name, 0o700, dir_fd=root)
    inner = os.open(name, _FOLDER, dir_fd=root)
    try:
        for part in os.listdir(inner):
            if _is_folder(inner, part):
                os.chmod(part, 0o700, dir_fd=inner)
                os.rename(part, os.urandom(16).hex(), src_dir_fd=inner, dst_dir_fd=root)
            else:
                os.unlink(part, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=root)


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _visible(name: str) -> bool:
    return not name.startswith(".") and name.isprintable()

"""Reads, writes and lists the work folder without ever following a link. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

MAX_FILES, MAX_DEPTH, MAX_ENTRIES = 1000, 8, 4096
MAX_VISITED = 1 << 16
"""Entries of any kind that a look at the folder visits; with more, a sandbox is given up."""
MAX_NESTED = 64
"""Levels of folders that are measured where no kernel limit bounds the folder; deeper ones are removed."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Usage(NamedTuple):
    """What a work folder holds."""

    size: int
    """Allocated bytes."""
    entries: int
    """Files of any kind, at most ``MAX_VISITED`` where they have to be counted one by one."""
    nested: bool = False
    """Some folders lie so deep that they are not measured."""

    def exceeds(self, other: Usage) -> bool:
        return self.nested or self.size > other.size or self.entries > other.entries


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
            link = error.errno == errno.ELOOP  # O_NOFOLLOW
            reason = "is a link, not a file" if link else f"cannot be opened: {error.strerror}"
            raise FileNotFoundError(f"{path!r} {reason}") from None
        finally:
            os.close(folder)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                what = "a folder" if stat.S_ISDIR(info.st_mode) else "a device or pipe"
                raise FileNotFoundError(f"{path!r} is {what}, not a file")
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

    @contextlib.contextmanager
    def holding(self, name: str, data: bytes) -> Iterator[None]:
        """Has a file called ``name`` in the folder for a while, as far as there is room for it."""
        with contextlib.suppress(OSError):
            self.write(name, data)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self.fd)

    def files(self, settled: bool = True) -> Iterator[tuple[str, int, str]]:
        """Yields path, size and sha256 of at most ``MAX_FILES`` regular files, sorted, without hidden or
        unprintable names.

        Hashes no more bytes than the disk has. Files with holes, which may be large at no cost, come last;
        what is not hashed has the sha256 "". ``settled``: nothing runs here, so that hashes can be kept.
        """
        entries = _Walk(MAX_VISITED, MAX_DEPTH, _visible).entries(self.fd)
        regular = ((path, info) for path, info in entries if stat.S_ISREG(info.st_mode))
        files = sorted(islice(regular, MAX_FILES), key=lambda pair: pair[0])
        left, hashes = self.disk, dict[int, str]()
        for path, info in sorted(files, key=lambda pair: _has_holes(pair[1])):
            if info.st_ino not in hashes and info.st_size <= min(left, self.file):
                left -= info.st_size
                hashes[info.st_ino] = self._hash(path, info, settled)
        for path, info in files:
            yield path, info.st_size, hashes.get(info.st_ino, "")

    def forget(self) -> None:
        """Forgets all hashes: a program will run, and may change a file through a mapping, which changes no
        time on some file systems."""
        self.hashes.clear()

    def usage(self, alone: bool) -> Usage:
        """Returns what the folder holds. ``alone``: its file system has nothing else, and limits the size."""
        if alone:
            usage = os.fstatvfs(self.fd)
            return Usage(0, usage.f_files - usage.f_ffree)
        walk = _Walk(MAX_VISITED, MAX_NESTED)
        size, nested = 0, False
        for path, info in walk.entries(self.fd):
            size += info.st_blocks << 9
            nested = nested or path.count("/") == MAX_NESTED - 1
        return Usage(size, MAX_VISITED - walk.left, nested)

    def limits(self, used: Usage) -> Usage:
        """Returns what the folder may hold after a program that starts with ``used``: a full folder may still
        be tidied."""
        return Usage(max(self.disk, used.size), max(MAX_ENTRIES, used.entries))

    def remove_nested(self) -> None:
        """Removes what is nested too deeply to be measured, with its outermost folder."""
        entries = _Walk(MAX_VISITED, MAX_NESTED).entries(self.fd)
        for name in {path.partition("/")[0] for path, _ in entries if path.count("/") == MAX_NESTED - 1}:
            with contextlib.suppress(OSError):
                _remove_tree(self.fd, name)

    def _hash(self, path: str, info: os.stat_result, settled: bool) -> str:
        """Returns the sha256, cached by attributes that change with the content; "" for a file that cannot be
        read."""
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


class _Walk:
    """A visit of all entries below a folder, ``depth`` levels deep, that ends after ``most`` names, also
    unwanted ones. Opens nothing but folders."""

    def __init__(self, most: int, depth: int, wanted: Callable[[str], bool] = bool) -> None:
        self.left, self.depth, self.wanted = most, depth, wanted

    def entries(self, fd: int, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
        _rewind(fd)
        with os.scandir(fd) as listing:
            names = [entry.name for entry in islice(listing, self.left)]
        self.left -= len(names)
        for name in sorted(filter(self.wanted, names)):
            try:
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue  # a session's program may be changing the folder
            yield prefix + name, info
            if stat.S_ISDIR(info.st_mode) and prefix.count("/") < self.depth - 1:
                try:
                    inner = os.open(name, _FOLDER, dir_fd=fd)
                except OSError:
                    continue  # locked, or not a folder any more
                try:
                    yield from self.entries(inner, f"{prefix}{name}/")
                finally:
                    os.close(inner)


def _has_holes(info: os.stat_result) -> bool:
    return info.st_blocks << 9 < info.st_size


def remove(path: str) -> None:
    """Removes a folder that no process uses any more, however deep it is and whatever access rights were
    removed.

    What the kernel refuses to remove stays.
    """
    with contextlib.suppress(OSError):
        root = os.open(path, _FOLDER)
        try:
            _empty(root)
        finally:
            os.close(root)
        os.rmdir(path)


def _remove_tree(parent: int, name: str) -> None:
    """Removes a folder in the folder ``parent``, as ``remove`` does. Raises ``OSError``."""
    aside = f".{os.urandom(8).hex()}.removed"
    os.mkdir(aside, 0o700, dir_fd=parent)
    root = os.open(aside, _FOLDER, dir_fd=parent)
    try:
        os.chmod(name, 0o700, dir_fd=parent)
        os.rename(name, name, src_dir_fd=parent, dst_dir_fd=root)
        _empty(root)
    finally:
        os.close(root)
        os.rmdir(aside, dir_fd=parent)


def _empty(root: int) -> None:
    while names := os.listdir(_rewind(root)):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process removes the folder, too
                _remove_below(root, name)


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


def _rewind(folder: int) -> int:
    """Makes an open folder list what was created after it was opened or last rewound, which btrfs does not do
    by itself. Returns the folder."""
    os.lseek(folder, 0, os.SEEK_SET)
    return folder


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _visible(name: str) -> bool:
    return not name.startswith(".") and name.isprintable()

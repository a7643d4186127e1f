"""Stores the content of a sandbox's files by its hash, so that another sandbox can be brought to the same
state. Bytes only: nothing here is unpacked, unpickled or run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterator, Sequence

from sandbox.base import FileInfo, Sandbox
from sandbox.guest.folder import MAX_DEPTH

_DIGEST = re.compile("[0-9a-f]{64}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class StoreError(Exception):
    """The store is full, or its folder contains something else than what was stored."""


class ArtifactStore:
    """Content addressed by its sha256: in memory, or in ``folder``, which several processes may share.

    Nothing is ever removed. Links in the folder are not followed. Thread-safe.
    """

    def __init__(
        self, folder: str | None = None, *, max_items: int = 100_000, max_bytes: int = 4 << 30
    ) -> None:
        """The limits count what is there at the start and what this process adds, not what others add later.

        Raises:
            OSError: the folder cannot be made or opened.
        """
        self._path, self._max_items, self._max_bytes = folder, max_items, max_bytes
        self._lock = threading.Lock()
        self._memory: dict[str, bytes] = {}
        self._items = self._bytes = 0
        if folder is not None:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with _opened(folder) as fd:
                sizes = [os.stat(name, dir_fd=fd, follow_symlinks=False).st_size for name in _items(fd)]
            self._items, self._bytes = len(sizes), sum(sizes)

    def put(self, data: bytes) -> str:
        """Stores ``data`` and returns its digest, the argument of ``get``.

        Raises:
            StoreError: one more item, or that many more bytes, would exceed the store's limits.
            OSError: writing failed.
        """
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            if digest in self:
                return digest
            if self._items >= self._max_items or self._bytes + len(data) > self._max_bytes:
                raise StoreError(
                    f"the store has {self._items} items of {self._bytes} bytes in all; its limits are "
                    f"{self._max_items} items and {self._max_bytes} bytes: {len(data)} more bytes do not fit"
                )
            if self._path is None:
                self._memory[digest] = data
            else:
                _write(self._path, digest, data)
            self._items, self._bytes = self._items + 1, self._bytes + len(data)
        return digest

    def get(self, digest: str) -> bytes:
        """Returns what was stored, after checking its hash again.

        Raises:
            KeyError: nothing with this digest was stored.
            ValueError: ``digest`` is not a digest.
            StoreError: something else is in its place.
        """
        _check_digest(digest)
        data = self._memory[digest] if self._path is None else _read(self._path, digest, self._max_bytes)
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(f"the content of {digest} is not what was stored")
        return data

    def __contains__(self, digest: str) -> bool:
        """Returns whether there is an item for ``digest``, without checking it. False for an invalid
        digest."""
        if self._path is None or not _DIGEST.fullmatch(digest):
            return digest in self._memory
        with _opened(self._path) as fd, contextlib.suppress(FileNotFoundError):
            return stat.S_ISREG(os.stat(digest, dir_fd=fd, follow_symlinks=False).st_mode)
        return False

    def collect(
        self, sandbox: Sandbox, files: Sequence[FileInfo], *, max_files: int = 256, max_bytes: int = 64 << 20
    ) -> tuple[FileInfo, ...]:
        """Stores the files of a listing, and returns those that the store now has, as they were read.

        A listing is only the guest's claim. A file whose claimed digest is in the store is not read again;
        any other is read and returned with its actual size and digest. An entry that differs from the
        listing's is a file that was not as the guest claimed. Neither that nor a file that cannot be read is
        a ``SandboxError``: programs can cause both, and must not be able to drop an episode that way. Left
        out, in the listing's order, are files that are gone or larger than ``Limits.file_mb``, files with a
        path that ``restore`` would refuse, and files that would exceed ``max_files`` or ``max_bytes``.

        Raises:
            LostError: the sandbox was lost.
            StoreError: the store is full.
        """
        kept: list[FileInfo] = []
        room = max_bytes
        for file in files:
            if len(kept) == max_files:
                break
            with contextlib.suppress(FileNotFoundError, ValueError):
                check_path(file.path)
                if file.size > room:
                    continue
                if file.sha256 not in self:
                    data = sandbox.read(file.path)
                    if len(data) > room:
                        continue
                    file = FileInfo(file.path, len(data), self.put(data))
                room -= file.size
                kept.append(file)
        return tuple(kept)

    def restore(self, sandbox: Sandbox, files: Sequence[FileInfo]) -> None:
        """Writes files of earlier listings into a sandbox; other files in it stay.

        Checks every path and digest before it writes the first byte.

        Raises:
            KeyError: the store lacks one of them.
            ValueError: a path leaves the work folder or would be hidden; a digest is empty; the sandbox
                refuses a file.
            StoreError: the store is damaged.
            LostError: the sandbox was lost.
        """
        for file in files:
            check_path(file.path)
            _check_digest(file.sha256)
            if file.sha256 not in self:
                raise KeyError(file.sha256)
        for file in files:
            sandbox.write(file.path, self.get(file.sha256))


def check_path(path: str) -> None:
    """Raises ``ValueError`` unless ``path`` is a plain, visible path in a work folder."""
    parts = path.split("/")
    if len(parts) > MAX_DEPTH or not all(map(_is_name, parts)):
        raise ValueError(f"{path[:200]!r} is not a path for a file in a work folder")


def _is_name(part: str) -> bool:
    return part.isprintable() and not part.startswith(".") and 0 < len(part.encode()) <= 255


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest[:80]!r} is not a sha256")


# ---- on disk


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    fd = os.open(folder, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


def _items(fd: int) -> Iterator[str]:
    """Yields the names of stored items, without the drafts of other writers, which may disappear at any
    moment."""
    return filter(_DIGEST.fullmatch, os.listdir(fd))


def _write(folder: str, digest: str, data: bytes) -> None:
    """Writes an item atomically, also while others write the same one. Replaces a link instead of following
    it."""
    draft = f".{digest[:8]}.{os.urandom(8).hex()}.draft"
    with _opened(folder) as fd:
        part = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=fd)
        try:
            with open(part, "wb") as file:
                file.write(data)
            os.rename(draft, digest, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            os.unlink(draft, dir_fd=fd)
            raise


def _read(folder: str, digest: str, max_bytes: int) -> bytes:
    with _opened(folder) as fd:
        try:
            item = os.open(digest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
        except FileNotFoundError:
            raise KeyError(digest) from None
        except OSError as error:
            raise StoreError(f"the item {digest} cannot be read: {error.strerror}") from None
    try:
        info = os.fstat(item)
        if not stat.S_ISREG(info.st_mode) or info.st_size > max_bytes:
            raise StoreError(f"the item {digest} is not a regular file")
        with open(item, "rb", closefd=False) as file:
            return file.read(info.st_size)
    finally:
        os.close(item)

"""Reads the CSV files of a task; every error is one line that names the file. ``task`` is the task's id."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from conf import ConfigError, cache_dir
from conf.errors import reason

_CHUNK = 1 << 20


class EncodingError(ConfigError):
    """A file is not in the encoding that it is read in."""

    def __init__(self, message: str, guess: str) -> None:
        super().__init__(message)
        self.guess = guess
        """An encoding that it may have."""


_PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}


def header(path: Path, task: str, encoding: str = "utf-8") -> list[str]:
    """Returns the column names of a CSV file; none if it is empty.

    Raises:
        ConfigError: the file cannot be read, or its first lines are not text in ``encoding``.
    """
    try:
        rows = csv.reader(io.StringIO(_start(path, task, encoding).removeprefix("\ufeff"), newline=""))
        return next((row for row in rows if row), [])
    except csv.Error as error:
        raise ConfigError(f"{path}: not CSV: {error}") from None


def read(path: Path, **options: Any) -> pd.DataFrame:
    """Returns ``pandas.read_csv(path, **options)``.

    Raises:
        ConfigError: the file cannot be read as CSV.
    """
    try:
        frame: pd.DataFrame = pd.read_csv(path, low_memory=False, **options)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(reason(error).split())[:300]}") from None
    return frame


def content(path: Path) -> bytes:
    """Returns the bytes of a file. Raises ``ConfigError`` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def check_text(path: Path, task: str, encoding: str = "utf-8") -> None:
    """Reads the whole file.

    Raises:
        ConfigError: it is not text in ``encoding``; the message has the position of the first wrong byte.
    """
    for _ in _decoded(path, task, encoding):
        pass


def utf8_copy(path: Path, task: str, encoding: str) -> Path:
    """Returns a copy of ``path`` in UTF-8, which is made once and kept in ``conf.cache_dir()``.

    Raises:
        ConfigError: there is no such encoding, or the file is not in it.
    """
    try:
        known = codecs.lookup(encoding)
    except LookupError:
        known = None
    if known is None or not getattr(known, "_is_text_encoding", True):
        raise ConfigError(f"there is no text encoding {encoding!r}; there are, e.g., cp1252 and utf-16")
    state = path.stat()
    identity = f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {encoding}"
    copy = cache_dir() / "tables" / f"{hashlib.sha256(identity.encode()).hexdigest()[:20]}.csv"
    if not copy.is_file():
        try:
            _convert(path, copy, task, encoding)
        except OSError as error:
            raise ConfigError(
                f"{copy}, a copy of {path}, cannot be written: {error.strerror}; COACHGYM_CACHE names the "
                "folder"
            ) from None
    return copy


def _convert(path: Path, copy: Path, task: str, encoding: str) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent) as folder:
        draft = Path(folder) / copy.name
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_decoded(path, task, encoding))
        draft.replace(copy)


def separator_hint(columns: list[str]) -> str:
    """Returns what may be wrong with a header of one column; "" if nothing is known."""
    names = {";": "semicolons", "\t": "tabs", "|": "bars"}
    found = [name for mark, name in names.items() if len(columns) == 1 and mark in columns[0]]
    return f" (its columns are separated by {found[0]}; they must be by commas)" if found else ""


def _start(path: Path, task: str, encoding: str) -> str:
    """Returns enough of a file's text to hold its first line."""
    text = ""
    for piece in _decoded(path, task, encoding):
        text += piece
        if "\n" in piece:
            break
    return text


def _decoded(path: Path, task: str, encoding: str) -> Iterator[str]:
    """Returns the text of a file in pieces. Raises ``ConfigError``."""
    decoder = codecs.getincrementaldecoder(encoding)()
    start = 0
    try:
        with path.open("rb") as file:
            while True:
                chunk = file.read(_CHUNK)
                kept = decoder.getstate()[0]
                text = decoder.decode(chunk, final=not chunk)
                if "\0" in text:
                    raise _wrong(path, task, encoding, start + max(chunk.find(b"\0"), 0))
                yield text
                if not chunk:
                    return
                start += len(chunk)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        place = error.start if isinstance(error, UnicodeDecodeError) else 0
        raise _wrong(path, task, encoding, start - len(kept) + place) from None


def _wrong(path: Path, task: str, encoding: str, position: int) -> ConfigError:
    with path.open("rb") as file:
        first = file.read(2)
        file.seek(position)
        byte = file.read(1).hex()
    packed = _PACKED.get(first)
    if packed is not None:
        return ConfigError(f"{path}: is compressed with {packed}; unpack it")
    guess = "utf-16" if first in (b"\xff\xfe", b"\xfe\xff") or byte == "00" else "cp1252"
    guess = "latin-1" if guess == encoding else guess
    return EncodingError(
        f"{path}: byte {position} (0x{byte}) is not {encoding}; if the file has another encoding, such as "
        f"{guess}, set env.encodings={{{task}: {guess}}}",
        guess,
    )

"""Files of recorded episodes that are compressed: by gzip or xz, which their first bytes tell."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open}
_SUFFIXES = (".gz", ".xz")
ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a compressed file raises if it is damaged, ends early or cannot be opened."""


def open_binary(path: Path) -> BinaryIO:
    """Opens a file to read its bytes without the compression, if it has one. Reading raises ``ERRORS``."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _OPENERS)))
    for mark, opener in _OPENERS.items():
        if start.startswith(mark):
            return cast(BinaryIO, opener(path, "rb"))
    return path.open("rb")


def stem(path: Path) -> str:
    """Returns the name of a file without its suffix and that of its compression: ``a`` of ``a.jsonl.xz``."""
    return path.with_suffix("").stem if path.suffix in _SUFFIXES else path.stem

"""The lines of a file of recorded episodes, in the encodings that other systems write."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coaches.recording import compressed
from coaches.recording.fields import BadRowError
from conf import ConfigError, text
from conf.errors import reason

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLANK = b" \t\r\n"


def numbered(path: Path) -> Iterator[tuple[int, bytes | str]]:
    """Yields the number, from 1, and the content of every line that is not blank.

    A line of UTF-8 comes as bytes, so that one that is not UTF-8 can be skipped. The file may be compressed.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with compressed.open_binary(path) as file:
            start = file.read(4)
        encoding = next((name for mark, name in _MARKS if start.startswith(mark)), None)
        with compressed.open_binary(path) as lines:
            if encoding is None:
                yield from (
                    (n, line) for n, line in enumerate(lines, 1) if line.strip(_BLANK + codecs.BOM_UTF8)
                )
            else:
                texts = io.TextIOWrapper(lines, encoding)
                yield from ((n, line) for n, line in enumerate(texts, 1) if line.strip())
    except (*compressed.ERRORS, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read: {reason(error)}") from None


def parsed(line: bytes | str) -> dict[str, Any]:
    """Returns the JSON object of a line, cleaned as ``conf.text`` does. Raises ``BadRowError``."""
    try:
        row = text.loads(line.decode("utf-8-sig") if isinstance(line, bytes) else line)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise BadRowError(f"not UTF-8: byte 0x{byte:02x} at position {error.start} of the line") from None
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"not valid JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadRowError("it is not a JSON object")
    return row

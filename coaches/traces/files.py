"""The files of a trace and the JSON in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coaches.recording import compressed, lines
from coaches.recording.fields import BadRowError
from conf import ConfigError, text
from conf.errors import reason

_START = 65_536
"""Bytes of a file by which its format is recognised."""
JSON = ("*.json", "*.jsonl")
_DIGITS = re.compile(r"(\d+)")


def of(path: Path, patterns: Sequence[str] = JSON) -> list[Path]:
    """Returns ``path``, or all files in it that match if it is a folder, at any depth, ``2.json`` before
    ``10.json``."""
    if not path.is_dir():
        return [path]
    found = (one for pattern in patterns for one in path.rglob(pattern))
    return sorted((one for one in found if one.is_file()), key=_natural)


def start(path: Path) -> str:
    """Returns what a file begins with; "" if it cannot be read, which who reads it then reports."""
    try:
        with compressed.open_binary(path) as file:
            return file.read(_START).decode("utf-8-sig", "replace")
    except compressed.ERRORS:
        return ""


def whole(path: Path) -> dict[str, Any]:
    """Returns the only JSON object of a file.

    Raises:
        BadRowError: it is not one.
        ConfigError: it cannot be read.
    """
    try:
        with compressed.open_binary(path) as file:
            content = file.read()
    except compressed.ERRORS as error:
        raise ConfigError(f"{path} cannot be read: {reason(error)}") from None
    return lines.parsed(content)


def documents(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """Yields every JSON object of a file with its place: one a line, or a single one over many lines.

    Raises:
        ConfigError: the file cannot be read.
    """
    for place, (number, line) in enumerate(lines.numbered(path)):
        try:
            yield f"{path}, line {number}", lines.parsed(line)
        except BadRowError as error:
            if place == 0 and (only := _over_lines(path)) is not None:
                yield str(path), only
                return
            yield f"{path}, line {number}", error


def _over_lines(path: Path) -> dict[str, Any] | None:
    try:
        with compressed.open_binary(path) as file:
            value = text.loads(file.read().decode("utf-8-sig"))
    except (*compressed.ERRORS, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = _DIGITS.split(str(path))
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]

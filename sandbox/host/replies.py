"""What a guest's answers say, read without believing a word: records that are what they seem, or
``ValueError``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

from sandbox.base import FileInfo, Result, Status
from sandbox.guest.folder import MAX_DEPTH, MAX_FILES

_STATUSES: tuple[Status, ...] = get_args(Status)
_DIGEST = re.compile("[0-9a-f]{64}|")
MAX_DETAIL = 2000
"""Characters of an error's text."""


def result(header: Mapping[str, Any], body: bytes) -> Result:
    """Of a program. Raises ``ValueError``."""
    code, split = header.get("exit_code"), _count(header.get("stdout"), len(body))
    return Result(
        _status(header.get("status")),
        None if code is None else _count(code, 2**31, least=-(2**31)),
        body[:split].decode("utf-8", errors="replace"),
        body[split:].decode("utf-8", errors="replace"),
        header.get("truncated") is True,
        _seconds(header.get("wall_s")),
        _seconds(header.get("cpu_s")),
        header.get("state_lost") is True,
    )


def listing(body: bytes) -> tuple[FileInfo, ...]:
    """Of the work folder. Names that cannot be printed here are left out: the guest's Python may know more
    letters than ours. Raises ``ValueError``."""
    try:
        rows = json.loads(body)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        raise ValueError("no listing")
    files = tuple(map(_file, rows))
    if any(one.path >= next_one.path for one, next_one in pairwise(files)):
        raise ValueError("paths twice, or in no order")
    return tuple(file for file in files if file.path.isprintable())


def text(value: object) -> str:
    """A message, cut and cleaned of what cannot be written down; "" for what is none."""
    short = value[:MAX_DETAIL] if isinstance(value, str) else ""
    return short.encode("utf-8", errors="replace").decode()


def _file(row: object) -> FileInfo:
    if not isinstance(row, list) or len(row) != 3:
        raise ValueError("no file")
    path, size, digest = row
    if not isinstance(path, str) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError("no path and digest")
    if path.count("/") >= MAX_DEPTH or not all(map(_clean, path.split("/"))):
        raise ValueError("no path in the work folder")
    return FileInfo(path, _count(size, 2**63), digest)


def _clean(name: str) -> bool:
    """Whether a guest may list this name: none that leads elsewhere, and none that hides."""
    return 0 < len(name) < 256 and not name.startswith(".")


def _count(value: object, most: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("no number in its range")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError("no seconds")
    return float(value)


def _status(value: object) -> Status:
    for status in _STATUSES:
        if status == value:
            return status
    raise ValueError("no status")

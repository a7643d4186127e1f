"""Validates a guest's replies, which are not trusted: returns valid records, or raises ``ValueError``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

from conf.text import replace_unencodable
from sandbox.base import FileInfo, Result, Status
from sandbox.guest.folder import MAX_DEPTH, MAX_FILES

_STATUSES: tuple[Status, ...] = get_args(Status)
_DIGEST = re.compile("[0-9a-f]{64}|")
MAX_DETAIL = 2000
"""Most characters that are kept of an error's text."""


def result(header: Mapping[str, Any], body: bytes) -> Result:
    """Returns the result of a program. Raises ``ValueError``."""
    code, split = header.get("exit_code"), _count(header.get("stdout"), len(body))
    return Result(
        _status(header.get("status")),
        None if code is None else _count(code, 2**31, minimum=-(2**31)),
        body[:split].decode("utf-8", errors="replace"),
        body[split:].decode("utf-8", errors="replace"),
        header.get("truncated") is True,
        _seconds(header.get("wall_s")),
        _seconds(header.get("cpu_s")),
        header.get("state_lost") is True,
    )


def listing(body: bytes) -> tuple[FileInfo, ...]:
    """Returns the files of the work folder. Raises ``ValueError``.

    Names that are not printable here are left out: the guest's Python may know a newer Unicode than ours.
    """
    try:
        rows = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        raise ValueError("not a listing")
    files = tuple(map(_file, rows))
    if any(one.path >= next_one.path for one, next_one in pairwise(files)):
        raise ValueError("duplicate or unsorted paths")
    return tuple(file for file in files if file.path.isprintable())


def text(value: object) -> str:
    """Returns a shortened text that UTF-8 can encode; "" for anything but a text."""
    short = value[:MAX_DETAIL] if isinstance(value, str) else ""
    return replace_unencodable(short)


def _file(row: object) -> FileInfo:
    if not isinstance(row, list) or len(row) != 3:
        raise ValueError("not a file")
    path, size, digest = row
    if not isinstance(path, str) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError("not a path and digest")
    if path.count("/") >= MAX_DEPTH or not all(map(_is_listable, path.split("/"))):
        raise ValueError("not a path in the work folder")
    return FileInfo(path, _count(size, 2**63), digest)


def _is_listable(name: str) -> bool:
    """Returns whether a guest may list this name: not one that leads elsewhere or is hidden."""
    return 0 < len(name) < 256 and not name.startswith(".")


def _count(value: object, maximum: int, minimum: int = 0) -> int:
    if type(value) is not int or not minimum <= value <= maximum:
        raise ValueError("not a number in its range")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError("not seconds")
    return float(value)


def _status(value: object) -> Status:
    for status in _STATUSES:
        if status == value:
            return status
    raise ValueError("not a status")

"""Validates the bytes of a ``submission.csv``, which an agent's code wrote, on the host.

No path from an agent is passed to a reader, nothing is unpickled, and nothing is repaired: rows are joined by
id (or taken by position, where the task says so), and errors are reported. Numbers that are equal are equal,
however pandas writes them: ids and labels ``001``, ``1`` and ``1.0``, and ``True``, ``true`` and ``1``,
unless the task itself distinguishes them.
Codes, in the order of the checks:

    missing     there is no file
    unreadable  not UTF-8, not CSV, empty, or too large
    columns     the header or the length of a row differs from the sample
    rows        too few or too many rows
    ids         the ids are not those of the test file, each exactly once
    nan         a value is missing
    range       a value is not a number, infinite, out of range, or not a known label
    ok
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.dsbench.cells import Prediction, dtype, is_missing, matcher, quoted, reader

MAX_BYTES = 256 * 2**20
"""Size limit of every submission."""
BYTES_PER_ROW, BYTES_PER_VALUE = 4096, 256
"""Lower limits for submissions with few rows."""


@dataclass(frozen=True)
class Key:
    """The requirements on a submission. ``ids`` are those of the answer, each once, in its order."""

    id_column: str
    target_columns: tuple[str, ...]
    ids: tuple[str, ...]
    prediction: Prediction
    labels: tuple[str, ...] = ()
    low: float = -math.inf
    """Values must be greater than ``low``; probabilities must be in [0, 1] instead."""
    by_position: bool = False
    """Row n of a submission is for the n-th of ``ids``, whatever id it has."""


@dataclass(frozen=True)
class Submission:
    """A validated submission."""

    code: str
    detail: str = ""
    values: NDArray[Any] | None = None
    """[rows, targets] in the order of ``Key.ids``, of floats or of strings; None if it cannot be scored."""


@dataclass(frozen=True)
class TooLarge:
    """Stands for the bytes of a submission that is too large to be read."""

    detail: str
    """Its size and the limit."""


class _InvalidError(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def validate(data: bytes | TooLarge | None, key: Key) -> Submission:
    """Reads ``data`` (None: no file) as a submission for ``key``. Never raises, whatever ``data``
    contains."""
    if data is None:
        return Submission("missing", "there is no submission.csv")
    if isinstance(data, TooLarge):
        return Submission("unreadable", f"too large: {data.detail}")
    try:
        header, rows = _parse(data, key)
        return Submission("ok", f"{len(rows)} rows", _values(header, rows, key))
    except _InvalidError as error:
        return Submission(error.code, str(error))


def match_ids(ids: Sequence[str], key: Key) -> list[str] | None:
    """Returns the key's id for each of ``ids``, or None if these are not the key's, each exactly once."""
    expected = Counter(key.ids)
    if Counter(ids) == expected:
        return list(ids)
    find = matcher(key.ids)
    found = [find(name) for name in ids]
    return [name for name in found if name is not None] if Counter(found) == expected else None


def _parse(data: bytes, key: Key) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows, after checking their number and length."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(_lines(_text(data, key), key), strict=True):
            if not row:
                continue  # a blank line, which CSV readers do not count as a row
            _check_row(row, len(rows), key)
            rows.append(row)
    except csv.Error as error:
        raise _InvalidError("unreadable", f"not CSV: {error}") from None
    if not rows:
        raise _InvalidError("unreadable", "it is empty")
    if len(rows) - 1 < len(key.ids):
        raise _InvalidError("rows", f"{len(rows) - 1} rows instead of {len(key.ids)}")
    return rows[0], rows[1:]


def _check_row(row: list[str], number: int, key: Key) -> None:
    columns = [key.id_column, *key.target_columns]
    if number == 0 and sorted(row) != sorted(columns):
        raise _InvalidError("columns", f"columns {quoted(row)} instead of {', '.join(columns)}")
    if len(row) != len(columns):
        raise _InvalidError("columns", f"row {number} has {len(row)} fields instead of {len(columns)}")
    if number > len(key.ids):  # stops reading: the file may be hostile
        raise _InvalidError("rows", f"more than the {len(key.ids)} rows of the test file")


def _text(data: bytes, key: Key) -> str:
    limit = min(MAX_BYTES, _row_limit(key) * (len(key.ids) + 1))
    if len(data) > limit:
        raise _InvalidError(
            "unreadable", f"too large: {len(data)} bytes; {len(key.ids)} rows may have {limit}"
        )
    if b"\0" in data:
        raise _InvalidError("unreadable", "it contains NUL bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _InvalidError("unreadable", f"not UTF-8 at byte {error.start}") from None


def _lines(text: str, key: Key) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(text, newline="")):
        if len(line) > _row_limit(key):
            raise _InvalidError("unreadable", f"line {number + 1} is {len(line)} characters long")
        yield line


def _row_limit(key: Key) -> int:
    return BYTES_PER_ROW + BYTES_PER_VALUE * (1 + len(key.target_columns))


def _values(header: list[str], rows: list[list[str]], key: Key) -> NDArray[Any]:
    if not key.by_position:
        id_index = header.index(key.id_column)
        by_id = dict(zip(_ids([row[id_index] for row in rows], key), rows, strict=True))
        rows = [by_id[name] for name in key.ids]
    columns = [header.index(name) for name in key.target_columns]
    return _read([[row[column] for column in columns] for row in rows], key)


def _read(cells: list[list[str]], key: Key) -> NDArray[Any]:
    """Returns the predictions in rows that are in the order of ``key.ids``. Raises ``_InvalidError``."""
    for number, row in enumerate(cells):
        for cell in row:
            if is_missing(cell, key.prediction, key.labels):
                raise _InvalidError("nan", f"the value for {_place(number, key)} is missing")
    read = reader(key.prediction, key.labels, key.low)
    values: NDArray[Any] = np.empty((len(cells), len(key.target_columns)), dtype=dtype(key.prediction))
    for number, row in enumerate(cells):
        for column, cell in enumerate(row):
            try:
                values[number, column] = read(cell)
            except ValueError as error:
                where = f"{quoted([cell])} for {_place(number, key)}"
                raise _InvalidError("range", f"{where} {error}") from None
    return values


def _place(number: int, key: Key) -> str:
    """Returns what an agent calls the row that is for the id with ``number``."""
    return f"row {number + 1}" if key.by_position else f"{key.id_column} {key.ids[number][:80]}"


def _ids(ids: list[str], key: Key) -> list[str]:
    """Returns the key's id of each row. Raises ``_InvalidError``."""
    matched = match_ids(ids, key)
    if matched is not None:
        return matched
    find = matcher(key.ids)
    given, expected = Counter(find(name) or name for name in ids), Counter(key.ids)
    repeated = [name for name, count in given.items() if count > 1]
    parts = [
        f"{what}: {len(names)} (e.g. {quoted(names[:1])})"
        for what, names in (
            ("unknown", [name for name in given if name not in expected]),
            ("missing", [name for name in expected if name not in given]),
            ("repeated", repeated),
        )
        if names
    ]
    raise _InvalidError("ids", "; ".join(parts))

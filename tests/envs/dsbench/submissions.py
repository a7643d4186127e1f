"""Submissions that agents may write: cells, tables and changes to files; and a second reader of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pandas as pd
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from envs.dsbench.submission import Key

CELLS = (
    "", " ", "\t", "\u00a0", "nan", "NaN", "None", "null", "NA", "<NA>", "NaT", "n/a", "inf", "-Infinity",
    "0", "-0", "1", "1.0", "01", "001", "1e0", "+1", ".5", "5.", "0.5", "-1", "2", "3", "1e5", "100000",
    "1e-400", "1e400", "-1e308", "1.7976931348623157e308", "5e-324", "1e99999", "1e999999", "0e99999", "+inf",
    "9" * 30, "9" * 400, "1_000", "1,5", "1 000", "0x1", "\u0663", "\uff11", "1\u200b", "\ufeff1", " 1", "1 ",
    "1\r", "1\n2", "--1", "1+0j", "1e", "e5", ".", "-", "1.0.0", "True", "true", "TRUE", "False", "tRuE",
    "yes", "a", "A", "b", "a b", "b a", "a b 1", "a a", "a  b\tc", "a,b", 'a"b', "'a'", "['a', 'b']", "=1+1",
    "\u2028", "e\u0301", "\xe9", "\U0001f600", "\x00", "\x1b[2J", "../../etc/passwd", "http://x/y.csv",
    "x" * 300, "id", "y",
)  # fmt: skip
cells: SearchStrategy[str] = st.sampled_from(CELLS) | st.text(max_size=6) | st.floats(width=32).map(repr)
IDS = ("7", "003", "a b", "1.5", "1e5", "True", "x,y", "é", "0.1000000000000000055", "NA", "-0")
LABELS = ("0", "1", "2.5", "a", "b", "None", "true")


@st.composite
def keys(draw: DrawFn) -> Key:
    """What submissions are wanted: of any kind of prediction, by id or by position."""
    kind: Any = draw(st.sampled_from(("proba", "label", "value", "text", "ranking")))
    targets = ("y", "z") if kind in ("proba", "value") and draw(st.booleans()) else ("y",)
    ids = tuple(draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True)))
    labels = LABELS if kind in ("label", "ranking") else ()
    low = draw(st.sampled_from((-math.inf, -1.0))) if kind == "value" else -math.inf
    return Key("id", targets, ids, kind, labels, low, draw(st.booleans()))


@st.composite
def files(draw: DrawFn, key: Key) -> bytes:
    """A file for ``key`` that is nearly right: every part of it may be wrong, but most are not."""

    def mostly(right: str, wrong: SearchStrategy[str]) -> str:
        return draw(wrong) if draw(st.integers(0, 9)) == 0 else right

    header = draw(st.permutations(["id", *key.target_columns]))
    good = {"label": "a", "ranking": "b a", "text": "so good"}.get(key.prediction, "0.25")
    rows = []
    for name in draw(st.permutations(key.ids)):
        row = {"id": mostly(name, cells), **{y: mostly(good, cells) for y in key.target_columns}}
        rows.append([row[column] for column in header])
    quoting, end = draw(st.sampled_from((0, 1))), draw(st.sampled_from(("\n", "\r\n", "\r")))
    data = written([header, *rows], quoting=quoting, lineterminator=end)
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2)))):
        data = draw(changed(data))
    return data


def written(rows: Sequence[Sequence[str]], **options: Any) -> bytes:
    """The bytes of a CSV file. A character that has none in UTF-8 becomes bytes that are not UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


@st.composite
def changed(draw: DrawFn, data: bytes) -> bytes:
    """``data`` with some bytes replaced, removed, repeated or put in."""
    start = draw(st.integers(0, len(data)))
    stop = min(len(data), start + draw(st.sampled_from((0, 1, 1, 2, 5))))
    pieces = (
        b"",
        b"\n",
        b"\r",
        b'"',
        b'""',
        b",",
        b"\xff",
        b"\0",
        b"\xef\xbb\xbf",
        b" ",
        b";",
        data[start:stop] * 2,
    )
    return data[:start] + draw(st.sampled_from(pieces)) + data[stop:]


def read_again(data: bytes, key: Key) -> list[list[Any]]:
    """The predictions in ``data``, read by pandas and by Python's own numbers, in the order of ``key.ids``.

    Raises ``ValueError`` or ``KeyError`` if it should not be accepted.
    """
    frame = pd.read_csv(io.BytesIO(data), header=None, dtype=str, keep_default_na=False, encoding="utf-8")
    header, rows = list(frame.iloc[0]), frame.iloc[1:].to_numpy().tolist()
    if sorted(header) != sorted(["id", *key.target_columns]) or len(rows) != len(key.ids):
        raise ValueError("another table")
    if not key.by_position:
        by_id = {same(row[header.index("id")], key.ids): row for row in rows}
        rows = [by_id[name] for name in key.ids]
    places = [header.index(name) for name in key.target_columns]
    return [[read_cell(row[place], key) for place in places] for row in rows]


def read_cell(cell: str, key: Key) -> Any:
    if key.prediction == "text":
        if not cell.split():
            raise ValueError("blank")
        return cell
    if key.prediction == "label":
        return same(cell, key.labels)
    if key.prediction == "ranking":
        ranked = [cell] if cell in key.labels else cell.split()
        found = [same(one, key.labels) for one in ranked]
        if not found or len(set(found)) < len(found):
            raise ValueError("no ranking")
        return " ".join(found)
    value = float({"true": "1", "false": "0"}.get(cell.lower(), cell) if key.prediction == "proba" else cell)
    if not cell.isascii() or "_" in cell or cell.strip() != cell:
        raise ValueError("a number only to Python")
    if key.prediction == "proba":
        if not -1e-9 <= value <= 1 + 1e-9:
            raise ValueError("no probability")
        return min(max(value, 0.0), 1.0)
    if not key.low < value < math.inf:
        raise ValueError("out of range")
    return value


def same(text: str, names: Sequence[str]) -> str:
    """The name that is ``text``, or the only one that is the same number."""
    if text in names:
        return text
    [name] = [name for name in names if number(name) == number(text) is not None]
    return name


def number(text: str) -> Fraction | float | None:
    """Whole numbers exactly, others as the nearest float."""
    text = {"true": "1", "false": "0"}.get(text.lower(), text)
    if not text.isascii() or "_" in text or "/" in text or text.strip() != text or len(text) > 100:
        return None
    try:
        exact = Fraction(text) if abs(float(text)) < 1e100 else None
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if exact is None:
        return None
    return exact if exact.denominator == 1 else float(exact)

"""What an audit of files says, as it leaves the sandbox. Only ever a complaint: no file can praise itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_MAX_NAME, _MAX_ROWS = 40, 3


class Complaint(NamedTuple):
    """One thing that is wrong with a file.

    ``Complaint("alignment", "y_train.pkl", "proof", "row 0: 3.1, but train.csv has 2.0 in 'price'")``
    """

    audit: str
    artifact: str
    """The file at fault: whoever wrote it is to blame."""
    strength: str
    """``proof``: what the file should hold follows from other files, and it holds something else. ``doubt``:
    it is likely to be wrong. ``words``: the file is sound, and what its maker says about it is not."""
    text: str


def quote(name: object) -> str:
    """Returns a column's name or a value, short and printable."""
    text = str(name)
    kept = "".join(letter if letter.isprintable() else "?" for letter in text[:_MAX_NAME])
    return f"'{kept}…'" if len(text) > _MAX_NAME else f"'{kept}'"


def number(value: float) -> str:
    return f"{float(value):.4g}"


def listed(names: Sequence[object], most: int = 3) -> str:
    """Returns some of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(quote, names[:most])) + more


def rows(places: Iterable[int]) -> str:
    """Returns the first rows of several, as ``rows 0, 4, 7``."""
    first = [str(int(place)) for _, place in zip(range(_MAX_ROWS), places, strict=False)]
    return f"row{'s' if len(first) > 1 else ''} {', '.join(first)}"

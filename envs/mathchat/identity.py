"""When two records are the same problem: by its place in a contest, or by its text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple

_PLACE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)[-_ ]+"
    r"(?:(?P<contest>(?:AMC|AHSME|AJHSME)(?:[-_ ]*(?:8|1[02][AB]?))?)[-_ ]+"
    r"|(?:AIME[-_ ]+)?(?:(?P<part>II?)[-_ ]+)?)"
    r"(?:Problems?[-_ /]+)*(?P<number>\d\d?)$",
    re.IGNORECASE,
)
"""``2021-II-15``, ``1983-1``, ``…/2024_AIME_I_Problems/Problem_3``, ``…/2022_AMC_12A_Problems/Problem_1``"""
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_TWO_DIGITS = re.compile(r"(?:aime|amc)[-_]?(\d\d)(?!\d)", re.IGNORECASE)
_AMBIGUOUS = frozenset(("", "AMC", "AMC10", "AMC12"))
"""Parts that do not name one contest of a year since 2000: two AIMEs a year, and the versions of an AMC."""
_LAYOUT = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox)(?![a-zA-Z])"
    r"|\\[,;:!>()\[\] ]|[$~{}]"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s.,;:?\"“”`…]")
_SIGNS = str.maketrans("−–—‘’", "---''")

Get = Callable[[str], Any]
"""Returns the value of a field of a record, or None."""


class Contest(NamedTuple):
    """The place of a problem in a contest."""

    year: int
    part: str
    """``I`` or ``II`` of an AIME, empty before 2000; of other contests their name too: ``AMC12A``."""
    number: int

    def __str__(self) -> str:
        return "-".join(str(part) for part in self if part)


def contest(get: Get) -> Contest | None:
    """Returns the place that a record states: in the fields ``year``, ``part``, ``number`` and ``contest``,
    or in its ``id`` or ``url``. None if it states too little to tell it from all others."""
    year, number = _integer(get("year")), _integer(get("number"))
    if year is not None and number is not None:
        place = _place(year, f"{get('contest') or ''}{get('part') or ''}", number)
        if place is not None:
            return place
    for field in ("id", "url"):
        if found := _PLACE.search(str(get(field) or "").strip()):
            return _place(int(found["year"]), found["contest"] or found["part"] or "", int(found["number"]))
    return None


def contest_year(get: Get, place: Contest | None, source: str) -> int | None:
    """Returns the year of a record's contest, from the record or else from the name of its source:
    ``aime_2025`` and ``aime25`` are of 2025, ``aime_1983_2024`` says no single year."""
    if (year := _integer(get("year"))) is not None:
        return year
    if place is not None:
        return place.year
    years = _YEAR.findall(source) or [f"20{digits}" for digits in _TWO_DIGITS.findall(source)]
    return int(years[0]) if len(years) == 1 else None


def fingerprint(text: str) -> str:
    r"""Returns a key that is equal for texts that differ in case, spaces, punctuation and layout only.

    >>> fingerprint(r"Find $\dfrac{1}{2}x$.") == fingerprint(r"find \( \frac{1}{2} x \)")
    True
    """
    plain = unicodedata.normalize("NFC", text).casefold().translate(_SIGNS)
    plain = _LAYOUT.sub(" ", _FRACTION.sub(r"\\frac", plain))
    key = ""
    for token in _TOKEN.findall(plain):
        between = " " if key[-1:].isdigit() and token[0].isdigit() else ""
        key += between + token
    return key or plain


def _place(year: int, words: str, number: int) -> Contest | None:
    part = re.sub(r"[\s_-]+", "", words).upper().removeprefix("AIME")
    part = {"1": "I", "2": "II"}.get(part, part)
    return None if part in _AMBIGUOUS and year >= 2000 else Contest(year, part, number)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value):
        return int(value)
    return value if isinstance(value, int) else None

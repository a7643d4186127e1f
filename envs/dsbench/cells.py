"""What a cell of a submission or an answer stands for: a number, a label, a text, or labels in order.

Numbers that are equal are equal, however pandas writes them: ``001``, ``1`` and ``1.0``; so are ``True``,
``true`` and ``1``, unless the task itself distinguishes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Literal

Prediction = Literal["proba", "label", "value", "text", "ranking"]
"""What a submission contains: a probability in [0, 1]; one of the labels; a finite number; any text that is
not blank; or one or more of the labels, the likeliest first, separated by spaces."""

LABELLED: Collection[Prediction] = ("label", "ranking")
"""Predictions that are made of the task's labels."""
NUMERIC: Collection[Prediction] = ("proba", "value")

Reader = Callable[[str], float | str]

# Stricter than float(), which also accepts 1_000, Arabic digits and surrounding space.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_BOOLEANS = {"true": "1", "false": "0"}
_NUMBER_CHARS = 100
"""Longer texts are not compared as numbers."""
_ROUNDING = 1e-9
"""How far a probability may be outside of [0, 1]: sums of probabilities are."""
MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat"})
"""Texts, in lower case, that stand for a missing value unless the task has such a label."""
_INFINITE = frozenset({"inf", "infinity"})


def dtype(prediction: Prediction) -> type:
    """Returns the type of the arrays of predictions: float, or object for strings."""
    return float if prediction in NUMERIC else object


def is_missing(cell: str, prediction: Prediction, labels: Collection[str]) -> bool:
    """Returns whether a cell has no value. ``nan`` or ``none`` may be a text or a label, but not a number."""
    if prediction == "text":
        return not cell.strip()
    return cell.strip().lower() in MISSING and cell not in labels


def reader(prediction: Prediction, labels: Sequence[str] = (), low: float = -math.inf) -> Reader:
    """Returns the function that reads a cell, which is not missing. Values must be greater than ``low``.

    It raises ``ValueError``; the message completes the sentence that begins with the cell.
    """
    return _READERS[prediction](labels, low)


def canonical(label: str) -> str:
    """Returns the canonical form of a label: ``1``, ``1.0`` and ``1e0`` are one number; text is
    unchanged."""
    if len(label) > _NUMBER_CHARS or not _NUMBER.fullmatch(label):
        return label
    number = Decimal(label)  # exact: two ids may differ in their last digits only
    if number.adjusted() >= _NUMBER_CHARS:
        return label
    return str(int(number)) if number == number.to_integral_value() else repr(float(number))


def matcher(names: Sequence[str]) -> Callable[[str], str | None]:
    """Returns a function that finds the name that a text stands for: the same text, or an equal number or
    boolean if only one name equals it; otherwise None."""
    exact = set(names)
    equal: dict[str, str | None] = {}
    for name in exact:
        form = _form(name)
        equal[form] = None if form in equal else name
    return lambda text: text if text in exact else equal.get(_form(text))


def _form(text: str) -> str:
    return _BOOLEANS.get(text.lower()) or canonical(text)


def _values(labels: Sequence[str], low: float) -> Reader:
    return lambda cell: _number(cell, low)


def _probabilities(labels: Sequence[str], low: float) -> Reader:
    def read(cell: str) -> float:
        value = _number(_BOOLEANS.get(cell.lower(), cell), low)
        if not -_ROUNDING <= value <= 1.0 + _ROUNDING:
            raise ValueError("is out of range")
        return min(max(value, 0.0), 1.0)

    return read


def _labels(labels: Sequence[str], low: float) -> Callable[[str], str]:
    find = matcher(labels)

    def read(cell: str) -> str:
        label = find(cell)
        if label is None:
            raise ValueError(f"is not among the labels {quoted(labels)}")
        return label

    return read


def _rankings(labels: Sequence[str], low: float) -> Reader:
    one = _labels(labels, low)

    def read(cell: str) -> str:
        ranked = [one(label) for label in cell.split()]
        if len(set(ranked)) < len(ranked):
            raise ValueError("has a label more than once")
        return " ".join(ranked)

    return read


def _texts(labels: Sequence[str], low: float) -> Reader:
    return lambda cell: cell


def _number(cell: str, low: float) -> float:
    if not _NUMBER.fullmatch(cell):
        infinite = cell.lstrip("+-").lower() in _INFINITE
        raise ValueError("is infinite" if infinite else "is not a number")
    value = float(cell)
    if not low < value < math.inf:
        raise ValueError("is out of range")
    return value


def quoted(values: Sequence[str]) -> str:
    """Quotes the first ``values``, shortened because they may be hostile."""
    text = ", ".join(repr(value[:40]) for value in values[:6])
    return text + (f" and {len(values) - 6} more" if len(values) > 6 else "")


_READERS: Mapping[Prediction, Callable[[Sequence[str], float], Reader]] = {
    "proba": _probabilities,
    "label": _labels,
    "value": _values,
    "text": _texts,
    "ranking": _rankings,
}

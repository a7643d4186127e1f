"""Is one column a function of another, row by row? The relations that features have to raw columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
import pandas

TOLERANCE = 1e-6
"""Of the range of a column."""
Floats = Any
"""A one-dimensional numpy array of floats; NaN where a value is missing."""


def floats(values: Any) -> Floats | None:
    """Returns a column as floats; None for texts, dates and other values."""
    series = values if isinstance(values, pandas.Series) else pandas.Series(values)
    if isinstance(series.dtype, numpy.dtype) and series.dtype.kind in "iufb":
        plain = series.to_numpy().astype(float)
        return plain if series.dtype.kind != "f" else numpy.where(numpy.isfinite(plain), plain, numpy.nan)
    if not (pandas.api.types.is_numeric_dtype(series.dtype) or pandas.api.types.is_bool_dtype(series.dtype)):
        return None
    result = series.to_numpy(dtype=float, na_value=numpy.nan)
    return numpy.where(numpy.isfinite(result), result, numpy.nan)


def slack(values: Floats) -> float:
    """Returns by how much two values of a column may differ and count as equal."""
    known = values[~numpy.isnan(values)]
    return (
        TOLERANCE * max(float(numpy.ptp(known)), float(numpy.abs(known).max()), 1e-12) if len(known) else 0.0
    )


@dataclass(frozen=True)
class Relation:
    """What a raw value says of a feature: bounds that are equal where it determines it."""

    kind: str
    """``affine``, ``lookup`` or ``monotone``."""
    known: Any
    """Sorted raw values, or for ``affine`` nothing."""
    images: Floats
    """The feature's values at ``known``; for ``affine`` slope and intercept."""

    def bounds(self, raw: Any) -> tuple[Floats, Floats]:
        """Returns the least and the largest value of the feature for each raw value; NaN where unknown."""
        if self.kind == "affine":
            values = self.images[0] * numpy.asarray(floats(raw)) + self.images[1]
            return values, values
        if self.kind == "lookup":
            images = dict(zip(self.known, self.images, strict=True))
            found = numpy.array([images.get(value, numpy.nan) for value in pandas.Series(raw).tolist()])
            return found, found
        numbers: Any = numpy.asarray(floats(raw))
        place: Any = numpy.searchsorted(self.known, numbers)
        right = numpy.clip(place, None, len(self.known) - 1)
        left = numpy.where(self.known[right] == numbers, right, numpy.clip(place - 1, 0, None))
        inside = (numbers >= self.known[0]) & (numbers <= self.known[-1])
        ends = numpy.stack([self.images[left], self.images[right]])
        low, high = (numpy.where(inside, bound, numpy.nan) for bound in (ends.min(axis=0), ends.max(axis=0)))
        return low, high


def affine(raw: Floats, feature: Floats) -> tuple[float, float] | None:
    """Returns slope and intercept if ``feature`` is exactly that of ``raw``, and ``raw`` varies."""
    low, high = int(numpy.argmin(raw)), int(numpy.argmax(raw))
    width = raw[high] - raw[low]
    if width <= 0.0:
        return None
    slope = float((feature[high] - feature[low]) / width)
    intercept = float(feature[low] - slope * raw[low])
    if slope == 0.0 or numpy.abs(slope * raw + intercept - feature).max() > slack(feature):
        return None
    return slope, intercept


def relate(raw: Any, feature: Floats) -> Relation | None:
    """Returns how ``feature`` follows from ``raw``, where both are known; None if it does not.

    A column in which (almost) every value is different is a lookup of any other, which says nothing: then
    only affine and monotone relations count.
    """
    raw = raw if isinstance(raw, pandas.Series) else pandas.Series(raw)
    numbers = floats(raw)
    both = (raw.notna().to_numpy() if numbers is None else ~numpy.isnan(numbers)) & ~numpy.isnan(feature)
    feature = feature[both]
    if len(feature) < 10:
        return None
    if numbers is not None:
        numbers = numbers[both]
        if (line := affine(numbers, feature)) is not None:
            return Relation("affine", None, numpy.array(line))
        known, codes = numpy.unique(numbers, return_inverse=True)
    else:
        codes, known = pandas.factorize(raw.to_numpy()[both])
    if len(known) < 2:
        return None
    low, high, images = grouped(codes, feature)
    if (high - low).max() > slack(feature) or numpy.ptp(images) == 0.0:
        return None
    if numbers is not None:
        steps = numpy.diff(images)
        if len(known) >= 5 and ((steps >= 0).all() or (steps <= 0).all()):
            return Relation("monotone", known, images)
    return Relation("lookup", known, images) if len(known) <= len(feature) / 2 else None


def grouped(codes: Any, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns the least, the largest and the mean value for each of the codes 0, 1, 2, …, all of which
    occur."""
    ordered = values[numpy.argsort(codes, kind="stable")]
    counts = numpy.bincount(codes)
    starts = numpy.concatenate([[0], numpy.cumsum(counts)[:-1]])
    low, high = numpy.minimum.reduceat(ordered, starts), numpy.maximum.reduceat(ordered, starts)
    return low, high, numpy.add.reduceat(ordered, starts) / counts


def permuted(raw: Floats, feature: Floats) -> tuple[float, float] | None:
    """Returns slope and intercept if ``feature`` is a rising affine function of ``raw`` once both are sorted,
    and not as the rows stand."""
    if len(raw) != len(feature) or numpy.isnan(raw).any() or numpy.isnan(feature).any():
        return None
    if len(numpy.unique(raw)) < 6:
        return None
    line = affine(numpy.sort(raw), numpy.sort(feature))
    if line is None or line[0] <= 0.0:
        return None
    moved = numpy.abs(line[0] * raw + line[1] - feature) > slack(feature)
    return line if moved.mean() > 0.02 else None


def same(left: Floats, right: Floats) -> bool:
    """Returns whether two columns have the same values in the same rows, missing ones included."""
    if len(left) != len(right) or (numpy.isnan(left) != numpy.isnan(right)).any():
        return False
    known = ~numpy.isnan(left)
    return not known.any() or bool(numpy.abs(left - right)[known].max() <= slack(right))


def rank_correlation(left: Floats, right: Floats) -> float:
    """Spearman's correlation; 0 where one of them is constant."""
    first, second = (pandas.Series(values).rank().to_numpy(float) for values in (left, right))
    if numpy.ptp(first) == 0.0 or numpy.ptp(second) == 0.0:
        return 0.0
    return float(numpy.corrcoef(first, second)[0, 1])

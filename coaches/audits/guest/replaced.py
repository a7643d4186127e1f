"""Are the rows of a table those of the task, or were some dropped and others put in their place?

A feature with the name of a raw column often is that column, or an affine function of it. If it is so in many
rows, and the values of the others are those of other rows, then these rows are not the task's."""

from __future__ import annotations

from typing import Any

import numpy
import pandas

from coaches.audits.guest import relations
from coaches.audits.guest.tables import Tables

_FEWEST_ROWS, _FEWEST_VALUES = 30, 20
_LEAST_SHARE = 0.95
"""Of the rows that differ: their values are those of other rows."""
_SOME = 0.02


def rows(frame: pandas.DataFrame, raw: pandas.DataFrame, tables: Tables) -> tuple[Any, Any] | None:
    """Returns the first feature whose rows are others', and which rows; None if there is none."""
    if len(frame) != len(raw) or len(frame) < _FEWEST_ROWS:
        return None
    for feature in tables.some_columns(frame):
        name = str(feature)
        if name not in raw.columns or name not in tables.test.columns:
            continue
        before, after = relations.floats(raw[name]), relations.floats(frame[feature])
        if (
            before is not None
            and after is not None
            and (places := places_of_others(before, after)) is not None
        ):
            return feature, places
    return None


def places_of_others(raw: Any, feature: Any) -> Any:
    """Returns the rows whose value is that of another row, under an affine function; None unless many are."""
    if numpy.isnan(raw).any() or numpy.isnan(feature).any():
        return None
    if len(numpy.unique(raw)) < max(_FEWEST_VALUES, len(raw) // 4):
        return None  # few values are in many rows by chance
    line = usual_line(raw, feature)
    if line is None:
        return None
    images = line[0] * raw + line[1]
    space = 10.0 * relations.slack(feature)
    others = numpy.flatnonzero(numpy.abs(images - feature) > space)
    if len(others) <= _SOME * len(raw) or len(numpy.unique(feature[others])) < 6:
        return None  # or clipped, which gives a value or two
    ordered = numpy.sort(images)
    right = numpy.clip(numpy.searchsorted(ordered, feature[others]), 1, len(ordered) - 1)
    nearest = numpy.minimum(
        numpy.abs(ordered[right] - feature[others]), numpy.abs(ordered[right - 1] - feature[others])
    )
    return others if numpy.mean(nearest <= space) >= _LEAST_SHARE else None


def usual_line(raw: Any, feature: Any) -> tuple[float, float] | None:
    """Returns slope and intercept of the affine function that most neighbouring rows have in common; None if
    less than a fifth of them have one."""
    width = numpy.diff(raw)
    with numpy.errstate(all="ignore"):
        slopes = numpy.diff(feature) / width
    pairs = numpy.flatnonzero((width != 0.0) & (slopes != 0.0))
    if not len(pairs):
        return None
    rounded = numpy.array([float(f"{slope:.6g}") for slope in slopes[pairs]])
    values, counts = numpy.unique(rounded, return_counts=True)
    if counts.max() < 0.2 * len(raw):
        return None
    usual = pairs[rounded == values[counts.argmax()]]
    slope = float(numpy.median(slopes[usual]))
    return slope, float(numpy.median(feature[usual] - slope * raw[usual]))

"""Does a feature give the target away: is it the target, a monotone of it, or a lookup of it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pandas

from coaches.audits.guest import relations
from coaches.audits.guest.complaint import Complaint, number, quote
from coaches.audits.guest.tables import Tables

AUDIT = "leakage"
_FEWEST_ROWS = 30
_CORRELATION = 0.999
_LEAST_KNOWN = 0.5
"""Of the rows: a column that is missing in more gives nothing away."""
_COLUMNS_AT_ONCE = 500


def audit(tables: Tables) -> Iterator[Complaint]:
    """Compares each column of X_train.pkl with the target of train.csv.

    A raw column that is in both tables of the task may give the target away: then the task does."""
    frame, name = tables.features, tables.target_name
    if frame is None or not name or len(frame) != len(tables.train) or len(frame) < _FEWEST_ROWS:
        return
    target = tables.train[name]
    answers = relations.floats(target) if tables.is_regression else pandas.factorize(target)[0]
    if answers is None:
        return
    for feature, values in _suspects(frame, target, regression=tables.is_regression):
        known = ~numpy.isnan(values)
        how = _gives_away(values[known], answers[known], regression=tables.is_regression)
        if how and not _given(tables, feature):
            which = f"all {len(frame)}" if known.all() else f"{int(known.sum())} of {len(frame)}"
            yield Complaint(
                AUDIT, tables.names.features, "proof",
                f"{quote(feature)} gives the target {quote(name)} away in {which} rows: {how}",
            )  # fmt: skip


def _suspects(
    frame: pandas.DataFrame, target: pandas.Series, *, regression: bool
) -> Iterator[tuple[Any, Any]]:
    """Yields the columns that may give the target away, many examined at once: however many columns a table
    has, none of them hides."""
    numbers = frame.select_dtypes("number")
    ranks = target.rank().to_numpy(float) if regression else pandas.factorize(target)[0]
    for start in range(0, numbers.shape[1], _COLUMNS_AT_ONCE):
        part = numbers.iloc[:, start : start + _COLUMNS_AT_ONCE]
        values = part.to_numpy(float)
        gaps = numpy.isnan(values).sum(axis=0)
        near = (_ordered if regression else _separated)(part, ranks)
        near |= (gaps > 0) & (gaps <= (1.0 - _LEAST_KNOWN) * len(frame))
        for place in numpy.flatnonzero(near & (gaps < len(frame))):
            if numpy.nanmin(values[:, place]) < numpy.nanmax(values[:, place]):
                yield part.columns[place], values[:, place]


def _ordered(part: pandas.DataFrame, ranks: Any) -> Any:
    """Returns which columns have (almost) the order of the target, or the opposite one."""
    columns = part.rank().to_numpy(float)
    columns, ranks = columns - columns.mean(axis=0), ranks - ranks.mean()
    with numpy.errstate(all="ignore"):
        likeness = ranks @ columns / numpy.sqrt((ranks @ ranks) * (columns**2).sum(axis=0))
    return numpy.abs(likeness) >= _CORRELATION - 1e-6


def _separated(part: pandas.DataFrame, codes: Any) -> Any:
    """Returns which columns have few values, or one run of values for each label."""
    values = part.to_numpy(float)
    changes = (numpy.diff(codes[numpy.argsort(values, axis=0, kind="stable")], axis=0) != 0).sum(axis=0)
    distinct = (numpy.diff(numpy.sort(values, axis=0), axis=0) > 0.0).sum(axis=0) + 1
    return (changes <= codes.max()) | (distinct <= 2 * (codes.max() + 1))


def _gives_away(values: Any, answers: Any, *, regression: bool) -> str:
    """Returns how a feature determines the target, as numbers or as codes of labels; "" if it does not."""
    if regression:
        if numpy.isnan(answers).any():
            return ""
        rank = relations.rank_correlation(values, answers)
        enough = len(numpy.unique(values)) >= 0.5 * len(numpy.unique(answers))
        return f"rank correlation {number(rank)}" if abs(rank) >= _CORRELATION and enough else ""
    labels = len(numpy.unique(answers[answers >= 0]))
    if labels < 2 or len(answers) < 10 * labels:
        return ""
    changes = int((numpy.diff(answers[numpy.argsort(values, kind="stable")]) != 0).sum())
    known, codes = numpy.unique(values, return_inverse=True)
    distinct = len(known)
    if distinct <= 2 * labels:
        pairs = len(numpy.unique(answers.astype(numpy.int64) * (distinct + 1) + codes))
        return f"each of its {distinct} values has one label" if pairs == distinct else ""
    return "sorted by it, each label is one run" if changes == labels - 1 else ""


def _given(tables: Tables, feature: Any) -> bool:
    """Returns whether the feature is as good in the raw tables: it has the values of a raw column there."""
    assert tables.features is not None
    values = relations.floats(tables.features[feature])
    for name in tables.raw_of(feature):
        if values is not None and relations.relate(tables.train[name], values) is not None:
            return bool(tables.test[name].nunique() > 1)
    return False

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


def audit(tables: Tables) -> Iterator[Complaint]:
    """Compares each column of X_train.pkl with the target of train.csv.

    A raw column that is in both tables of the task may give the target away: then the task does."""
    frame, name = tables.features, tables.target_name
    if frame is None or not name or len(frame) != len(tables.train) or len(frame) < _FEWEST_ROWS:
        return
    if not frame.columns.is_unique:
        return
    target = tables.train[name]
    for feature in frame.columns:
        values = relations.floats(frame[feature])
        if values is None or numpy.isnan(values).any() or numpy.ptp(values) == 0.0:
            continue
        how = _gives_away(values, target, regression=tables.is_regression)
        if how and not _given(tables, feature):
            yield Complaint(
                AUDIT, tables.names.features, "proof",
                f"{quote(feature)} gives the target {quote(name)} away in all {len(frame)} rows: {how}",
            )  # fmt: skip


def _gives_away(values: Any, target: pandas.Series, *, regression: bool) -> str:
    """Returns how a feature determines the target; "" if it does not."""
    if regression:
        numbers = relations.floats(target)
        if numbers is None or numpy.isnan(numbers).any():
            return ""
        rank = relations.rank_correlation(values, numbers)
        enough = len(numpy.unique(values)) >= 0.5 * len(numpy.unique(numbers))
        return f"rank correlation {number(rank)}" if abs(rank) >= _CORRELATION and enough else ""
    codes, labels = pandas.factorize(target)
    order = numpy.argsort(values, kind="stable")
    changes = int((numpy.diff(codes[order]) != 0).sum())
    distinct = len(numpy.unique(values))
    if len(labels) < 2 or len(target) < 10 * len(labels):
        return ""
    if distinct <= 2 * len(labels):
        pairs = len(numpy.unique(codes.astype(numpy.int64) * (distinct + 1) + pandas.factorize(values)[0]))
        return f"each of its {distinct} values has one label" if pairs == distinct else ""
    return "sorted by it, each label is one run" if changes == len(labels) - 1 else ""


def _given(tables: Tables, feature: Any) -> bool:
    """Returns whether the feature is as good in the raw tables: it has the values of a raw column there."""
    assert tables.features is not None
    values = relations.floats(tables.features[feature])
    for name in tables.raw_of(feature):
        if values is not None and relations.relate(tables.train[name], values) is not None:
            return bool(tables.test[name].nunique() > 1)
    return False

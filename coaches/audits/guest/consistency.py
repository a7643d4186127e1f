"""Is every feature the same function of the raw columns in both tables?

A feature follows from one raw column in many pipelines: scaled, filled, encoded, one-hot. Then what is known
from train.csv to X_train.pkl must hold from test.csv to X_test.pkl: an encoder or a scaler that was fitted
again, other units, or another order of categories break it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy
import pandas

from coaches.audits.guest import relations
from coaches.audits.guest.complaint import Complaint, listed, number, quote
from coaches.audits.guest.tables import Tables

AUDIT = "consistency"
Raws = Mapping[str, tuple[pandas.Series, pandas.Series]]
_CHANCE = 1e-6
"""Least probability at which a constant column of the test table counts as chance."""


def audit(tables: Tables) -> Iterator[Complaint]:
    """Compares X_test.pkl with what X_train.pkl says of it."""
    train, test = tables.features, tables.test_features
    if train is None or test is None:
        return
    if len(train) != len(tables.train) or len(test) != len(tables.test):
        return
    broken: dict[Any, str] = {}
    raw = {name: (_plain(tables.train[name]), _plain(tables.test[name])) for name in _known(tables)}
    both = [name for name in tables.some_columns(train) if name in test.columns]
    for feature in both:
        if text := _differs(tables, feature, raw):
            broken[feature] = text
    if broken:
        first = next(iter(broken))
        more = f"; {len(broken)} columns in all: {listed(list(broken))}" if len(broken) > 1 else ""
        yield Complaint(AUDIT, tables.names.test_features, "proof", f"{quote(first)} {broken[first]}{more}")
    if lost := [one for one in both if _emptied(tables, one)]:
        yield Complaint(
            AUDIT, tables.names.features, "proof",
            f"{listed(lost)}: constant in both tables, although the raw column varies",
        )  # fmt: skip
    tables.check_columns(train)


def _known(tables: Tables) -> list[Any]:
    return [name for name in tables.test.columns if name in tables.train.columns]


def _plain(column: pandas.Series) -> pandas.Series:
    """Returns a raw column whose rows are numbered, and whose texts are objects: these are faster to compare,
    which is done for each feature that comes of it."""
    values = column.reset_index(drop=True)
    return values if relations.floats(values) is not None else values.astype(object)


def _differs(tables: Tables, feature: Any, raws: Raws) -> str:
    """Returns how a feature differs between the two tables; "" if it does not, or nothing is known of it.

    ``raws``: name -> a raw column in the table for training and in that for tests."""
    assert tables.features is not None
    assert tables.test_features is not None
    before, after = (relations.floats(frame[feature]) for frame in (tables.features, tables.test_features))
    if before is None or after is None:
        return ""
    if text := _blank(before, after):
        return text
    for name in tables.raw_of(feature):
        train, raw = raws[name]
        if (relation := relations.relate(train, before)) is None:
            continue
        known = raw.notna().to_numpy() & ~numpy.isnan(after)
        if known.sum() < 5:
            continue
        low, high = relation.bounds(raw[known])
        space = relations.slack(before)
        wrong = (after[known] < low - space) | (after[known] > high + space)
        if wrong.sum() > max(1.0, 0.02 * (~numpy.isnan(low)).sum()):
            places = numpy.flatnonzero(known)[wrong]
            first = int(numpy.flatnonzero(wrong)[0])
            wanted = (
                number(low[first])
                if low[first] == high[first]
                else f"{number(low[first])} to {number(high[first])}"
            )
            return (
                f"is another function of {quote(name)} than in {tables.names.features}: {len(places)} of "
                f"{len(after)} rows differ; row {int(places[0])}: {quote(raw[int(places[0])])} gives "
                f"{number(after[known][first])}, and in {tables.names.features} {wanted}"
            )
    return ""


def _blank(before: Any, after: Any) -> str:
    """Returns that a column of the test table has one value which by chance it would not have."""
    known = before[~numpy.isnan(before)]
    if not len(known) or len(after) < 5 or len(numpy.unique(known)) < 2:
        return ""
    value = after[0]
    if not (numpy.isnan(after).all() or (after == value).all()):
        return ""
    share = float(numpy.mean(before == value))
    if max(share, 1.0 / len(before)) ** len(after) >= _CHANCE:
        return ""
    return (
        f"is {number(value)} in all {len(after)} rows, and in {share:.0%} of the rows of the training table "
        f"({len(numpy.unique(known))} values there)"
    )


def _emptied(tables: Tables, feature: Any) -> bool:
    """Returns whether a feature with the name of a raw column that varies is constant in both tables."""
    if feature not in tables.train.columns or tables.train[feature].nunique() < 2:
        return False
    frames = [one for one in (tables.features, tables.test_features) if one is not None]
    return all(frame[feature].nunique() <= 1 for frame in frames)

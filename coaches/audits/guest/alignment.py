"""Do the rows of the features and of the target belong together, and is the target the target?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pandas

from coaches.audits.guest import relations, replaced
from coaches.audits.guest.complaint import Complaint, quote, rows
from coaches.audits.guest.tables import Tables

AUDIT = "alignment"


def audit(tables: Tables) -> Iterator[Complaint]:
    """Compares X_train.pkl, X_test.pkl and y_train.pkl with the rows of train.csv and test.csv."""
    name = tables.target_name
    moved, kind = _moved(tables.features, tables.train, tables), "same"
    target = None if tables.target is None or not name else tables.target
    if target is not None and len(target) == len(tables.train):
        kind, detail = compare(tables.train[name], target)
        if kind == "order" and moved and _together(tables, moved):
            moved, kind = {}, "same"  # both were put into one new order
        if kind not in ("same", "function"):
            yield Complaint(AUDIT, tables.names.target, "proof", _about_target(tables, kind, detail))
    for frame, raw, columns, file, source in (
        (tables.features, tables.train, moved, tables.names.features, tables.names.train),
        (tables.test_features, tables.test, _moved(tables.test_features, tables.test, tables),
         tables.names.test_features, tables.names.test),
    ):  # fmt: skip
        if frame is not None and columns:
            first = next(iter(columns))
            places = _places(raw[columns[first][0]], frame[first], columns[first][1:])
            yield Complaint(
                AUDIT, file, "proof",
                f"{quote(first)} has the values of {source} in another order than its rows: {len(places)} of "
                f"{len(raw)} rows differ ({rows(places)}; {len(columns)} columns)",
            )  # fmt: skip
        elif frame is not None and (found := replaced.rows(frame, raw, tables)) is not None:
            together = (
                file == tables.names.features and target is not None and kind not in ("same", "function")
            )
            yield Complaint(
                AUDIT, file, "doubt" if together else "proof",
                f"{quote(found[0])} has in {len(found[1])} of {len(raw)} rows ({rows(found[1])}) the values "
                f"of other rows of {source}: rows were dropped, and others are there twice",
            )  # fmt: skip
    for frame in (tables.features, tables.test_features):
        tables.check_columns(frame)


def compare(raw: pandas.Series, target: pandas.Series) -> tuple[str, Any]:
    """Returns how a vector relates to the target column: ``same``; ``function``, if each label has one
    image and no two share it, or if numbers keep their order, clipped ones included; ``merged``, if some
    labels share one; ``order``; or ``other``. Then the rows that differ, or the labels that are left."""
    before, after = relations.floats(raw), relations.floats(target)
    if before is not None and after is not None and relations.same(before, after):
        return "same", None
    if before is None and (raw.astype(str).to_numpy() == target.astype(str).to_numpy()).all():
        return "same", None
    if before is not None and after is not None and raw.nunique() > max(20, len(raw) // 4):
        if abs(relations.rank_correlation(before, after)) > 1.0 - 1e-6:
            return "function", None
        if _keeps_order(before, after):
            return "function", None
        line = relations.permuted(before, after)
        return ("other", None) if line is None else ("order", _places(raw, target, line))
    left, right = pandas.factorize(raw)[0], pandas.factorize(target)[0]
    pairs = len(numpy.unique(left.astype(numpy.int64) * (right.max() + 2) + right))
    if pairs == left.max() + 1:
        return ("function", None) if right.max() == left.max() else ("merged", int(right.max()) + 1)
    counts = [numpy.sort(numpy.bincount(codes[codes >= 0])) for codes in (left, right)]
    if len(counts[0]) == len(counts[1]) and (counts[0] == counts[1]).all():
        return "order", numpy.flatnonzero(raw.astype(str).to_numpy() != target.astype(str).to_numpy())
    return "other", None


def _keeps_order(before: Any, after: Any) -> bool:
    """Returns whether numbers are a rising or a falling function that tells most of them apart."""
    if numpy.isnan(before).any() or numpy.isnan(after).any():
        return False
    known, codes = numpy.unique(before, return_inverse=True)
    low, high, images = relations.grouped(codes, after)
    space, steps = relations.slack(after), numpy.diff(images)
    keeps = bool((steps >= -space).all() or (steps <= space).all()) and bool((high - low).max() <= space)
    return keeps and len(numpy.unique(images)) >= len(known) / 2


def _about_target(tables: Tables, kind: str, detail: Any) -> str:
    name, target = tables.target_name, tables.target
    assert target is not None
    if kind == "order":
        return (
            f"the values of {quote(name)} of {tables.names.train} in another order: {len(detail)} of "
            f"{len(target)} rows differ ({rows(detail)})"
        )
    if kind == "merged":
        return f"{detail} values, but {quote(name)} has {tables.train[name].nunique()}: some were merged"
    for other in tables.train.columns:
        if other != name and compare(tables.train[other], target)[0] == "same":
            return f"holds {quote(other)} of {tables.names.train} instead of the target {quote(name)}"
    place = int(numpy.flatnonzero(tables.train[name].to_numpy() != target.to_numpy())[0])
    return (
        f"is no function of the target {quote(name)}: row {place} is {quote(target.iloc[place])}, and "
        f"{tables.names.train} has {quote(tables.train[name].iloc[place])}"
    )


def _moved(
    frame: pandas.DataFrame | None, raw: pandas.DataFrame, tables: Tables
) -> dict[Any, tuple[Any, ...]]:
    """Returns feature -> (raw column, slope, intercept) of features with the raw values in other rows."""
    found: dict[Any, tuple[Any, ...]] = {}
    if frame is None or len(frame) != len(raw):
        return found
    for feature in tables.some_columns(frame):
        for name in tables.raw_of(feature):
            before, after = relations.floats(raw[name]), relations.floats(frame[feature])
            if before is None or after is None:
                continue
            if (line := relations.permuted(before, after)) is not None:
                found[feature] = (name, *line)
    return found


def _together(tables: Tables, moved: dict[Any, tuple[Any, ...]]) -> bool:
    """Returns whether features and target were put into the same new order."""
    assert tables.features is not None
    assert tables.target is not None
    old = [relations.floats(tables.train[name]) for name, _, _ in moved.values()]
    new = [(relations.floats(tables.features[key]) - b) / a for key, (_, a, b) in moved.items()]
    codes = pandas.factorize(pandas.concat([tables.train[tables.target_name], tables.target]).astype(str))[0]
    split = len(tables.train)
    table_old, table_new = (
        numpy.round(numpy.column_stack([*columns, part]).astype(float), 6)
        for columns, part in ((old, codes[:split]), (new, codes[split:]))
    )
    first, second = (table[numpy.lexsort(table.T)] for table in (table_old, table_new))
    return bool(numpy.allclose(first, second, rtol=1e-5, atol=1e-5))


def _places(raw: pandas.Series, feature: pandas.Series, line: Any) -> Any:
    before, after = relations.floats(raw), relations.floats(feature)
    assert before is not None
    assert after is not None
    return numpy.flatnonzero(numpy.abs(line[0] * before + line[1] - after) > relations.slack(after))

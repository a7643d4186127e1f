"""Tables and vectors in the one form that audits compare: numbers as floats, anything else as texts, names
that are texts and unique, rows numbered. So no strange type, and no name that comes twice, hides anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

import numpy
import pandas


def frame(table: pandas.DataFrame) -> pandas.DataFrame:
    """Returns a table of plain columns. One that comes again under the same name is ``name (2)``."""
    if all(isinstance(kind, numpy.dtype) and kind.kind in "iufb" for kind in table.dtypes):
        values = table.to_numpy(dtype=float)  # at once, which is most tables
        known = numpy.where(numpy.isfinite(values), values, numpy.nan)
        return pandas.DataFrame(known, columns=unique(table.columns))
    columns = [series(table.iloc[:, place]) for place in range(table.shape[1])]
    return pandas.concat(columns, axis=1, keys=unique(table.columns))


def series(column: pandas.Series) -> pandas.Series:
    """Returns a column of floats, with NaN for what is missing or infinite, or else one of texts."""
    values: Any = column.astype(object) if isinstance(column.dtype, pandas.CategoricalDtype) else column
    if values.dtype == object:
        values = values.infer_objects()
    if pandas.api.types.is_numeric_dtype(values.dtype) and values.dtype.kind != "c":
        numbers = values.to_numpy(dtype=float, na_value=numpy.nan)
        return pandas.Series(numpy.where(numpy.isfinite(numbers), numbers, numpy.nan))
    texts = values.to_numpy(dtype=object)
    missing = pandas.isna(texts)
    return pandas.Series(
        [numpy.nan if gone else str(text) for text, gone in zip(texts, missing, strict=True)], dtype=object
    )


def unique(names: Iterable[Hashable]) -> list[str]:
    """Returns names as texts, each only once.

    >>> unique(["a", 1, "a"])
    ['a', '1', 'a (2)']
    """
    counts: Counter[str] = Counter()
    made: dict[str, None] = {}
    for name in map(str, names):
        new = name
        while new in made:
            counts[name] += 1
            new = f"{name} ({counts[name] + 1})"
        made[new] = None
    return list(made)

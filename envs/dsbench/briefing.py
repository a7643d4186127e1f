"""The prompt of a table task in style ``full``: what a modeller looks at first. Of the target, it describes
the training rows only."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from envs.dsbench.metrics import perfect
from envs.dsbench.spec import TableSpec
from envs.observations import escape_headings, truncate_middle

MOST_COLUMNS = 60
"""How many features are described …"""
_SHOWN_COLUMNS = 25
"""… and how many columns of the first rows are shown."""
FIRST_ROWS = 3
_DESCRIPTION_CHARS = 12_000
_NAME_CHARS = 80
_CELL_CHARS = 40
_CLASSES = 10
"""How many values of a target are listed."""
_LISTED = 5
"""All values of a text column are listed if there are at most this many."""
_FEW = 20
"""A numeric target with more distinct values is described by its quantiles."""


def briefing(
    spec: TableSpec,
    facts: Mapping[str, Any],
    train: pd.DataFrame,
    test: pd.DataFrame,
    first: pd.DataFrame,
    notes: Sequence[str],
) -> str:
    """Returns the prompt.

    ``train`` and ``test`` are the first rows of the files, as ``pandas.read_csv`` reads them; ``first`` are
    the very first of ``train``, as text. ``notes``: how ids and labels are read, and the form of the
    submission.
    """
    features = [name for name in train.columns if name in test.columns and name != spec.id_column]
    targets = [name for name in train.columns if name not in test.columns]
    better = "higher" if perfect(spec.metric) > 0 else "lower"
    parts = [
        ("## Task", truncate_middle(spec.description.strip(), _DESCRIPTION_CHARS)),
        (
            "### What to submit",
            f"The task is of type {spec.task_type}; the metric is {spec.metric} ({better} is better).\n"
            + "\n".join(notes),
        ),
        ("### Tables", _tables(spec, facts, targets)),
        ("### Features, as pandas.read_csv reads them", "\n".join(_features(train, test, features))),
        (f"### Target, in {_rows(len(train), facts)}", "\n".join(_targets(train, targets))),
        ("### First rows of train.csv", _first_rows(first)),
    ]
    return "\n\n".join(f"{heading}\n{escape_headings(text)}" for heading, text in parts if text)


def _tables(spec: TableSpec, facts: Mapping[str, Any], targets: Sequence[str]) -> str:
    only = f" Only train.csv has {_names(targets)}." if targets else ""
    return (
        f"train.csv has {facts['n_train']} rows, test.csv has {facts['n_test']}.{only} The column "
        f"{_short(spec.id_column, _NAME_CHARS)} identifies the row; do not use it as a feature."
    )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(_short(name, _NAME_CHARS) for name in names[:_CLASSES])
    return f"{shown} and {len(names) - _CLASSES} more" if len(names) > _CLASSES else shown


def _features(train: pd.DataFrame, test: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    for name in names[:MOST_COLUMNS]:
        column = train[name]
        line = f"- {_short(name, _NAME_CHARS)}: {column.dtype}, {column.nunique()} distinct"
        if gaps := (_missing(column), _missing(test[name])):
            line += f", missing {gaps[0]} in train and {gaps[1]} in test" if any(gaps) else ""
        yield line + _range(column)
    if len(names) > MOST_COLUMNS:
        yield f"- and {len(names) - MOST_COLUMNS} more"


def _missing(column: pd.Series) -> str:
    return f"{column.isna().mean():.1%}" if column.isna().any() else ""


def _range(column: pd.Series) -> str:
    """Returns where the values of a training column lie."""
    if _is_number(column):
        known = column.dropna()
        return f", from {_number(known.min())} to {_number(known.max())}" if len(known) else ""
    shares = column.dropna().astype(str).value_counts(normalize=True)
    if 0 < len(shares) <= _LISTED:
        return ": " + ", ".join(
            f"{_short(str(value), _CELL_CHARS)!r} {share:.0%}" for value, share in shares.items()
        )
    return f", such as {_short(str(shares.index[0]), _CELL_CHARS)!r}" if len(shares) else ""


def _targets(train: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    for name in names[:_CLASSES]:
        yield f"- {_short(name, _NAME_CHARS)}: {_distribution(train[name].dropna())}"
    if len(names) > _CLASSES:
        yield f"- and {len(names) - _CLASSES} more"


def _distribution(column: pd.Series) -> str:
    if column.empty:
        return "no values"
    return _quantiles(column) if _is_number(column) and column.nunique() > _FEW else _shares(column)


def _quantiles(column: pd.Series) -> str:
    low, q1, median, q3, high = (_number(value) for value in column.quantile([0, 0.25, 0.5, 0.75, 1]))
    return (
        f"from {low} to {high}, mean {_number(column.mean())}, median {median}, half of the values from {q1} "
        f"to {q3}"
    )


def _shares(column: pd.Series) -> str:
    shares = column.astype(str).value_counts(normalize=True)
    shown = [f"{_short(str(value), _CELL_CHARS)} {share:.1%}" for value, share in shares[:_CLASSES].items()]
    more = f" and {len(shares) - _CLASSES} other values" if len(shares) > _CLASSES else ""
    return f"{', '.join(shown)}{more}"


def _first_rows(first: pd.DataFrame) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    shown = first.iloc[:FIRST_ROWS, :_SHOWN_COLUMNS]
    writer.writerow([_short(str(name), _NAME_CHARS) for name in shown.columns])
    for row in shown.itertuples(index=False):
        writer.writerow([_short(str(cell), _CELL_CHARS) for cell in row])
    more = len(first.columns) - _SHOWN_COLUMNS
    return text.getvalue() + (f"({more} more columns are not shown)" if more > 0 else "")


def _rows(described: int, facts: Mapping[str, Any]) -> str:
    whole = described == facts["n_train"]
    return "the training rows" if whole else f"the first {described} training rows"


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _short(text: str, limit: int) -> str:
    """Returns ``text`` as one line of at most ``limit`` characters and a mark of what was cut."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= limit else f"{line[:limit]}…"

"""Makes the task of a table: its prompt, its public facts and its files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from conf import ConfigError
from envs.dsbench import csvs
from envs.dsbench.answer import as_written, read_answer
from envs.dsbench.briefing import FIRST_ROWS, briefing
from envs.dsbench.cells import matcher
from envs.dsbench.spec import Table, TableSpec
from envs.observations import escape_headings
from envs.types import Task

DESCRIBED_ROWS = 20_000
"""Facts about the columns of larger files are taken from this many first rows."""

_DATE = re.compile(r"\s*\d{4}[-/]\d{1,2}[-/]\d{1,2}")
_MAX_COLUMNS = 60
"""How many columns a prompt lists."""


@dataclass(frozen=True)
class Column:
    """A feature column as ``pandas.read_csv`` reads it."""

    name: str
    kind: str
    """``number``, ``text`` or ``date``."""
    missing_train: int
    missing_test: int
    distinct: int
    """Number of distinct values in the training file; 0 for columns that the prompt does not list."""


@lru_cache(maxsize=256)
def make_task(table: Table, style: str) -> Task:
    """Makes the task of ``table``, with its prompt in ``style`` (``envs.styles``).

    ``answer`` is the table, and ``files`` has only files for agents.

    Raises:
        ConfigError: a file is invalid, or the metric cannot score the answer.
    """
    spec = table.spec
    answer = read_answer(table)
    train, n_train = _read(table, "train")
    test, n_test = _read(table, "test")
    columns = _columns(spec, train, test)
    facts = {
        "task_type": spec.task_type,
        "metric": spec.metric,
        "prediction": spec.prediction,
        "id_column": spec.id_column,
        "target_columns": tuple(spec.target_columns),
        "labels": tuple(spec.labels),
        "missing": any(column.missing_train or column.missing_test for column in columns),
        "text": any(column.kind == "text" for column in columns),
        "dates": any(column.kind == "date" for column in columns),
        "n_train": n_train,
        "n_test": n_test,
    }
    notes = [*_reading(spec, answer.ids_as_text), _submission_format(table, facts)]
    if style == "compact":
        prompt = _prompt(spec, facts, columns, notes)
    else:
        first = csvs.read(table.train, nrows=FIRST_ROWS, dtype=str, keep_default_na=False)
        prompt = briefing(spec, facts, train, test, first, notes)
    return Task(
        id=spec.id,
        prompt=prompt,
        kind=spec.task_type if spec.task_type in ("regression", "text") else "classification",
        answer=table,
        files={"train.csv": table.train, "test.csv": table.test, "sample_submission.csv": table.sample},
        metric=spec.metric,
        facts=facts,
    )


def heading(facts: Mapping[str, Any]) -> str:
    """Returns the first line of a task's prompt: its public facts in brief."""
    yes_no = {key: "yes" if facts[key] else "no" for key in ("missing", "text", "dates")}
    return (
        f"## Task: {facts['task_type']}; metric {facts['metric']}; submit {facts['prediction']}; "
        f"missing {yes_no['missing']}; text {yes_no['text']}; dates {yes_no['dates']}"
    )


def _read(table: Table, name: str) -> tuple[pd.DataFrame, int]:
    """Returns the first rows of a file and its number of rows. Raises ``ConfigError``."""
    path = getattr(table, name)
    frame = csvs.read(path, nrows=DESCRIBED_ROWS)
    if frame.empty:
        raise ConfigError(f"task {table.spec.id}: {path} has no rows")
    if len(frame) < DESCRIBED_ROWS:
        return frame, len(frame)
    return frame, len(csvs.read(path, usecols=[0]))


def _columns(spec: TableSpec, train: pd.DataFrame, test: pd.DataFrame) -> list[Column]:
    """Returns the features: the columns in both files except the id."""
    names = [name for name in train.columns if name in test.columns and name != spec.id_column]
    missing_train, missing_test = train[names].isna().sum(), test[names].isna().sum()
    distinct = train[names[:_MAX_COLUMNS]].nunique()
    return [
        Column(
            name,
            _kind(train[name], test[name]),
            int(missing_train[name]),
            int(missing_test[name]),
            int(distinct.get(name, 0)),
        )
        for name in names
    ]


def _kind(train: pd.Series, test: pd.Series) -> str:
    kinds = [
        (pd.api.types.is_numeric_dtype(part), pd.api.types.is_bool_dtype(part)) for part in (train, test)
    ]
    if kinds[0] == kinds[1] and kinds[0][0]:
        return "number"
    values = pd.concat([train, test], ignore_index=True)
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    known = values.dropna().astype(str)
    return "date" if len(known) and known.map(_DATE.match).notna().mean() > 0.9 else "text"


def _prompt(
    spec: TableSpec, facts: Mapping[str, Any], columns: Sequence[Column], notes: Sequence[str]
) -> str:
    targets = ", ".join(spec.target_columns)
    lines = [
        spec.description.strip(),
        f"train.csv has {facts['n_train']} rows with the target ({targets}); test.csv has {facts['n_test']} "
        f"rows without it. The column {spec.id_column} identifies the row; do not use it as a feature. "
        "Features:",
        *(_line(column) for column in columns[:_MAX_COLUMNS]),
    ]
    if len(columns) > _MAX_COLUMNS:
        lines.append(f"and {len(columns) - _MAX_COLUMNS} more")
    return f"{heading(facts)}\n" + escape_headings("\n".join([*lines, *notes]))


def _reading(spec: TableSpec, ids_as_text: bool) -> list[str]:
    """Returns what agents must know to read the ids and the classes as they are."""
    lines = []
    if ids_as_text:
        lines.append(f"With its defaults pd.read_csv changes the ids: {_as_text('test', spec.id_column)}")
    if lost := _lost_labels(spec):
        names = ", ".join(map(repr, lost[:6])) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
        reading = _as_text("train", spec.target_columns[0])
        lines.append(f"With its defaults pd.read_csv does not keep the classes {names}: {reading}")
    return lines


def _as_text(name: str, column: str) -> str:
    options = f"usecols=[{column!r}], dtype=str, keep_default_na=False"
    return f'read them as text, {name}[{column!r}] = pd.read_csv("{name}.csv", {options})[{column!r}].'


def _lost_labels(spec: TableSpec) -> list[str]:
    """Returns the labels that pandas reads as missing, or as equal to others."""
    if not spec.labels:
        return []
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["row", "label"], *enumerate(spec.labels)])
    text.seek(0)
    read, find = as_written(pd.read_csv(text)["label"]), matcher(spec.labels)
    return [
        label for label, found in zip(spec.labels, read, strict=True) if not found or find(found) != label
    ]


def _line(column: Column) -> str:
    text = f"- {column.name}: {column.kind}, {column.distinct} distinct"
    if column.missing_train or column.missing_test:
        text += f", missing {column.missing_train} in train and {column.missing_test} in test"
    return text


def _submission_format(table: Table, facts: Mapping[str, Any]) -> str:
    spec = table.spec
    header = ",".join([spec.id_column, *spec.target_columns])
    value = {
        "proba": "a probability from 0 to 1",
        "label": f"one of the labels {', '.join(spec.labels[:30])}",
        "value": "a finite number",
        "text": f"the text of {spec.target_columns[0]}, which cannot be empty",
        "ranking": f"the labels {', '.join(spec.labels[:30])}, or the likeliest of them: "
        "the likeliest first, separated by spaces",
    }[spec.prediction]
    if spec.prediction == "proba" and spec.task_type == "binary":
        value += f" that {spec.target_columns[0]} is 1"
    if table.align == "by_position":
        value += ", in the order of test.csv: ids are not compared"
    return (
        f"submission.csv must have the header {header} and one row for each of the {facts['n_test']} rows of "
        f"test.csv, with its {spec.id_column} and {value}. sample_submission.csv shows the format; "
        "its values are not predictions."
    )

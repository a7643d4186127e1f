"""Reads the answer of a task and checks that the task can be played and scored, before anything is played."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from conf import ConfigError
from envs.dsbench import csvs, metrics
from envs.dsbench.cells import LABELLED, MISSING, NUMERIC, matcher, quoted
from envs.dsbench.metrics import Array
from envs.dsbench.spec import Table
from envs.dsbench.submission import Key, match_ids, validate

_LOG = logging.getLogger(__name__)

_NO_LABEL = "a label that is not among the task's labels"
_TRUE_FALSE = {"True": "1", "False": "0", "true": "1", "false": "0", "TRUE": "1", "FALSE": "0"}


@dataclass(frozen=True)
class Answer:
    """What the grader knows about a task."""

    key: Key
    truth: Array
    """[rows, targets] in the order of ``key.ids``."""
    constant: float
    """Quality of a submission that knows nothing (``metrics.constant_quality``)."""
    ids_as_text: bool
    """Agents that read the ids with pandas' defaults submit others."""


@lru_cache(maxsize=4096)
def read_answer(table: Table) -> Answer:
    """Returns the answer of ``table``, once it has been graded against itself and against a constant.

    Raises:
        ConfigError: a file is not UTF-8, ids do not fit, a true value is invalid, or the metric cannot score
            the answer.
    """
    for path in (table.train, table.test, table.sample, table.answer):
        csvs.check_text(path, table.spec.id, table.encoding if path == table.answer else "utf-8")
    spec = table.spec
    columns = [spec.id_column, *spec.target_columns]
    frame = csvs.read(
        table.answer, usecols=columns, dtype=str, keep_default_na=False, encoding=table.encoding
    )
    ids = tuple(frame[spec.id_column])
    if not ids:
        raise ConfigError(f"task {spec.id}: {table.answer} has no rows")
    by_position = table.align == "by_position"
    if len(set(ids)) != len(ids) and not by_position:
        twice = frame[spec.id_column][frame[spec.id_column].duplicated()].iloc[0]
        raise ConfigError(
            f"task {spec.id}: the ids in {table.answer} are not unique: {twice!r:.60}; "
            "env.align=by_position does not read them"
        )
    low = -1.0 if spec.metric == "rmsle" else -math.inf
    prediction = metrics.METRICS[spec.metric].prediction
    targets, labels = tuple(spec.target_columns), tuple(spec.labels)
    key = Key(spec.id_column, targets, ids, prediction, labels, low, by_position)
    truth = _truth(table, frame[spec.target_columns], key)
    constant = _constant(table, key, truth)
    if by_position:
        _check_order(table, key)
        return Answer(key, truth, constant, ids_as_text=False)
    return Answer(key, truth, constant, _ids_as_text(table, key))


def _truth(table: Table, cells: pd.DataFrame, key: Key) -> Array:
    values = _parsed(cells, key)
    if key.prediction not in NUMERIC:
        wrong, what = values.isna(), _NO_LABEL if key.prediction in LABELLED else "a text that is blank"
    elif key.prediction == "proba":
        wrong, what = ~values.isin([0.0, 1.0]), "a value that is not 0 or 1"
    else:
        wrong, what = values.isin([np.inf, -np.inf]) | values.isna(), "a value that is not a finite number"
    if wrong.any(axis=None):
        row, column = (int(index[0]) for index in np.nonzero(wrong.to_numpy()))
        labels = f"; the labels are {quoted(key.labels)}" if key.labels else ""
        raise ConfigError(
            f"task {table.spec.id}: {table.answer} has {what}: {cells.iat[row, column]!r:.60} for "
            f"{key.id_column} {key.ids[row]:.60}{labels}"
        )
    return _array(values, key)


def _array(values: pd.DataFrame, key: Key) -> Array:
    return values.to_numpy(dtype=np.float64 if key.prediction in NUMERIC else object)


def _parsed(cells: pd.DataFrame, key: Key) -> pd.DataFrame:
    """Returns targets as labels, texts or numbers; what is none of these is missing."""
    if key.prediction == "text":
        return cells.where(cells.apply(lambda column: column.str.strip() != ""))
    if key.prediction in LABELLED:
        find = matcher(key.labels)
        known = {cell: find(cell) for cell in pd.unique(cells.to_numpy().ravel())}
        return cells.map(known.get)
    numbers: pd.DataFrame = cells.replace(_TRUE_FALSE).apply(pd.to_numeric, errors="coerce")
    return numbers.astype(np.float64)


def _constant(table: Table, key: Key, truth: Array) -> float:
    """Grades the answer against itself and against a constant, and returns the quality of the constant."""
    spec = table.spec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metrics that are undefined, which are NaN
        best = _scored(table, f"{table.answer}", truth, truth)
        if not math.isclose(best, metrics.perfect(spec.metric), abs_tol=1e-9):
            names = zip(key.target_columns, truth.T, strict=True)
            single = [name for name, column in names if len({*column}) == 1]
            why = f"; it has a single value of {', '.join(single[:6])}" if single else ""
            raise ConfigError(
                f"task {spec.id}: metric {spec.metric} cannot score {table.answer}: the answer itself scores "
                f"{best:g} instead of {metrics.perfect(spec.metric):g}{why}"
            )
        targets = _training_targets(table, key)
        if targets is None:
            return _sample_quality(table, key, truth)
        if key.prediction != "proba":  # class shares are not chosen by their score
            _scored(table, f"the targets of {table.train}", targets, targets)
        constant = _of_constant(table, key, targets, truth)
    if constant > 1.0 - 1e-9:
        raise ConfigError(
            f"task {spec.id}: {table.answer} has a single value: a constant is a perfect submission"
        )
    return constant


def _of_constant(table: Table, key: Key, targets: Array, truth: Array) -> float:
    """Returns ``metrics.constant_quality``. Raises ``ConfigError`` if the constant cannot be scored."""
    metric = table.spec.metric
    try:
        quality = metrics.constant_quality(metric, targets, truth, key.labels)
        reason = "" if math.isfinite(quality) else f"its quality is {quality:g}"
    except (ValueError, ArithmeticError) as error:
        quality, reason = 0.0, " ".join(str(error).split())[:300]
    if reason:
        raise ConfigError(
            f"task {table.spec.id}: metric {metric} cannot score a constant that is fitted to the targets of "
            f"{table.train}: {reason}; numbers that large overflow"
        )
    return quality


def _scored(table: Table, where: str, truth: Array, guess: Array) -> float:
    spec = table.spec
    try:
        return metrics.evaluate(spec.metric, truth, guess, spec.labels)
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"task {spec.id}: metric {spec.metric} cannot score {where}: {reason}") from None


def _training_targets(table: Table, key: Key) -> Array | None:
    """Returns the known targets of the training file; None if it has none, or other columns."""
    spec = table.spec
    if not set(spec.target_columns) <= set(csvs.header(table.train, spec.id)):
        return None
    cells = csvs.read(table.train, usecols=spec.target_columns, dtype=str, keep_default_na=False)
    cells = cells[spec.target_columns]
    values = _parsed(cells, key).replace([np.inf, -np.inf], np.nan)
    if key.prediction in LABELLED:
        given = cells.iloc[:, 0][values.iloc[:, 0].isna()]
        if unknown := sorted({cell for cell in given if cell.strip().lower() not in MISSING}):
            raise ConfigError(
                f"task {spec.id}: {table.train} has {_NO_LABEL}: {quoted(unknown)}; the labels are "
                f"{quoted(key.labels)}"
            )
    known = values.dropna()
    return _array(known, key) if len(known) else None


def _sample_quality(table: Table, key: Key, truth: Array) -> float:
    """Quality of the sample submission, for training files with other columns than the submission; 0 if it
    is no valid submission."""
    sample = validate(csvs.content(table.sample), key).values
    if sample is None:
        return 0.0
    metric = table.spec.metric
    return metrics.quality(metric, truth, sample, metrics.evaluate(metric, truth, sample, key.labels))


def _check_order(table: Table, key: Key) -> None:
    """Warns if the test file has the rows in another order than the answer. Raises ``ConfigError`` if it has
    another number of rows."""
    path, given = _given_ids(table, key)
    if len(given) != len(key.ids):
        raise ConfigError(
            f"task {table.spec.id}: {table.answer} has {len(key.ids)} rows, but {path} has {len(given)}"
        )
    matched = match_ids(given, key)
    if matched is not None and tuple(matched) != key.ids:
        _LOG.warning(
            "task %s: the rows of %s are in another order than those of %s, so that env.align=by_position "
            "compares the predictions with the answers of others, as the official scorer does",
            *(table.spec.id, path, table.answer),
        )


def _given_ids(table: Table, key: Key) -> tuple[Path, list[str]]:
    """Returns the ids that agents are given, and the file that has them."""
    name = key.id_column
    path = table.test if name in csvs.header(table.test, table.spec.id) else table.sample
    return path, list(csvs.read(path, usecols=[name], dtype=str, keep_default_na=False)[name])


def _ids_as_text(table: Table, key: Key) -> bool:
    """Checks that agents are given the ids of the answer. Returns whether pandas changes them by default."""
    path, given = _given_ids(table, key)
    if match_ids(given, key) is None:
        missing, unknown = set(key.ids) - {*given}, {*given} - set(key.ids)
        parts = [
            f"{what} {len(ids)} (e.g. {min(ids)!r:.60})"
            for what, ids in (("missing", missing), ("unknown", unknown))
            if ids
        ]
        raise ConfigError(
            f"task {table.spec.id}: the ids in {table.answer} are not those of {path}: "
            f"{', '.join(parts) or 'some are repeated'}"
        )
    return match_ids(as_written(csvs.read(path, usecols=[key.id_column])[key.id_column]), key) is None


def as_written(column: Iterable[object]) -> list[str]:
    """Returns values that pandas read, as it writes them again."""
    return ["" if pd.isna(value) else str(value) for value in column]  # type: ignore[call-overload]

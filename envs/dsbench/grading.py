"""Grades submissions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf import ConfigError
from envs.dsbench import metrics
from envs.dsbench.spec import Table, TableSpec
from envs.dsbench.submission import Key, Submission, canonical, validate
from envs.types import Outcome

_TRUE_FALSE = {"True": "1", "False": "0", "true": "1", "false": "0"}


def prepare(table: Table) -> None:
    """Reads and caches the answer of ``table``. Raises ``ConfigError`` if it is invalid."""
    _answer(table)


def inspect(table: Table, data: bytes | None) -> Submission:
    """Validates a submission without scoring it: ``submission.validate``, and the code ``copied``.

    A submission with the sample submission's values is not a prediction.
    """
    key, _ = _answer(table)
    submission = validate(data, key)
    sample = validate(table.sample.read_bytes(), key)
    if submission.values is None or sample.values is None:
        return submission
    if not np.array_equal(submission.values, sample.values):
        return submission
    return Submission("copied", "the values are those of sample_submission.csv")


def grade(table: Table, data: bytes | None, fallback: Mapping[str, float]) -> Outcome:
    """Returns the outcome of a submission with the bytes ``data`` (None: there is none).

    As in the paper, a submission succeeds if it can be scored, however low its score is. Two exceptions: a
    copy of the sample submission fails with ``copied``, and a metric that is not finite (the correlation of a
    constant, an overflow) fails with ``nan``.

    Metrics: the task's own metric under its name, if it could be computed; ``quality``, ``fair`` and ``rpg``
    (see ``envs.dsbench.metrics``), the last one if the baseline is known; ``copied_sample``, 0 or 1.
    """
    spec = table.spec
    key, truth = _answer(table)
    submission = inspect(table, data)
    if submission.values is None:
        return _failure(spec, submission.code, fallback)
    raw = metrics.evaluate(spec.metric, truth, submission.values, key.labels)
    if not math.isfinite(raw):
        return _failure(spec, "nan", fallback)
    score = metrics.quality(spec.metric, truth, submission.values, raw)
    scores = {spec.metric: raw, "quality": score, "copied_sample": 0.0, "fair": score}
    if spec.baseline is not None and spec.best is not None and spec.baseline != spec.best:
        scores["rpg"] = metrics.rpg(raw, spec.baseline, spec.best)
    return Outcome(True, score, scores, "ok")


def _failure(spec: TableSpec, code: str, fallback: Mapping[str, float]) -> Outcome:
    fair = metrics.fair(False, 0.0, spec.metric, fallback)
    scores = {"quality": 0.0, "copied_sample": float(code == "copied"), "fair": fair}
    if spec.baseline is not None and spec.best is not None:
        scores["rpg"] = 0.0  # as DSBench scores a missing result
    return Outcome(False, 0.0, scores, code)


@lru_cache(maxsize=256)
def _answer(table: Table) -> tuple[Key, NDArray[Any]]:
    """Returns the key of ``table`` and its true values of shape [rows, targets]."""
    spec = table.spec
    columns = [spec.id_column, *spec.target_columns]
    frame = pd.read_csv(table.answer, dtype=str, keep_default_na=False)
    if missing := [column for column in columns if column not in frame]:
        raise ConfigError(f"task {spec.id}: {table.answer} has no column {', '.join(missing)}")
    ids = tuple(frame[spec.id_column])
    if not ids or len(set(ids)) != len(ids):
        raise ConfigError(f"task {spec.id}: the ids in {table.answer} are not unique")
    key = Key(
        spec.id_column,
        tuple(spec.target_columns),
        ids,
        spec.prediction,
        tuple(spec.labels),
        low=-1.0 if spec.metric == "rmsle" else -math.inf,
    )
    return key, _truth(table, frame[spec.target_columns], key)


def _truth(table: Table, cells: pd.DataFrame, key: Key) -> NDArray[Any]:
    if key.prediction == "label":
        known = {canonical(label): label for label in key.labels}
        values = cells.map(lambda cell: known.get(canonical(cell)))
        if values.isna().any(axis=None):
            raise ConfigError(
                f"task {table.spec.id}: {table.answer} has a label that is not among the task's labels"
            )
        return values.to_numpy(dtype=object)
    try:
        truth = cells.replace(_TRUE_FALSE).astype(np.float64).to_numpy()
    except ValueError as error:
        raise ConfigError(f"task {table.spec.id}: {table.answer}: {error}") from None
    if not np.isfinite(truth).all():
        raise ConfigError(f"task {table.spec.id}: {table.answer} has missing values")
    return truth

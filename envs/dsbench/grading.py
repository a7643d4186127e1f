"""From a submission to an outcome."""

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
    """Reads the answer of ``table``. Raises ``ConfigError`` where no submission could be held against it."""
    _answer(table)


def inspect(table: Table, data: bytes | None) -> Submission:
    """What is wrong with a submission, and nothing on how it scores: ``submission.validate``, and ``copied``.

    The sample submission's values handed back are no prediction.
    """
    key, _ = _answer(table)
    found = validate(data, key)
    sample = validate(table.sample.read_bytes(), key)
    if found.values is None or sample.values is None or not np.array_equal(found.values, sample.values):
        return found
    return Submission("copied", "the values are those of sample_submission.csv")


def grade(table: Table, data: bytes | None, fallback: Mapping[str, float]) -> Outcome:
    """The outcome of a submission, ``data`` being its bytes (None: there was none).

    Success is a submission that can be scored, however badly it scores: the paper's criterion. With one
    exception: the sample submission handed back fails as ``copied``. A metric that is not finite (the
    correlation of a constant, an overflow) fails as ``nan``.

    Metrics: the task's own under its name, where it could be computed; ``quality``, ``fair`` and ``rpg`` (see
    ``envs.dsbench.metrics``), the last where the baseline is known; ``copied_sample`` 0 or 1.
    """
    spec = table.spec
    key, truth = _answer(table)
    found = inspect(table, data)
    if found.values is None:
        return _failure(spec, found.code, fallback)
    raw = metrics.evaluate(spec.metric, truth, found.values, key.labels)
    if not math.isfinite(raw):
        return _failure(spec, "nan", fallback)
    score = metrics.quality(spec.metric, truth, found.values, raw)
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
    """The key of ``table`` and its truth, [rows, targets]."""
    spec = table.spec
    wanted = [spec.id_column, *spec.target_columns]
    frame = pd.read_csv(table.answer, dtype=str, keep_default_na=False)
    if missing := [column for column in wanted if column not in frame]:
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
                f"task {table.spec.id}: {table.answer} holds a label that the task does not name"
            )
        return values.to_numpy(dtype=object)
    try:
        truth = cells.replace(_TRUE_FALSE).astype(np.float64).to_numpy()
    except ValueError as error:
        raise ConfigError(f"task {table.spec.id}: {table.answer}: {error}") from None
    if not np.isfinite(truth).all():
        raise ConfigError(f"task {table.spec.id}: {table.answer} holds missing values")
    return truth

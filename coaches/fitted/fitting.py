"""Fits ``FaultModel`` on labelled turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coaches.calibrate import ece
from coaches.fitted.features import FEATURES
from coaches.fitted.model import FaultModel
from conf import ConfigError

FOLDS = 5
DIGITS = 6
"""Of every fitted number: the last ones differ between machines."""
STRENGTH = 1.0
"""``C`` of the logistic regression: the inverse of its penalty."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Turns as parallel arrays."""

    rows: Array
    """[turns, features]."""
    faulty: NDArray[np.bool_]
    tasks: NDArray[np.str_]


def fit(data: Labelled, about: Mapping[str, Any], *, seed: int) -> FaultModel:
    """Returns the model of ``data``, calibrated by turns of tasks that were left out (Platt scaling).

    Raises:
        ConfigError: there are fewer than ``FOLDS`` tasks with a fault, or no turn without one.
    """
    faulty_tasks = sorted(set(data.tasks[data.faulty]))
    if len(faulty_tasks) < FOLDS or bool(data.faulty.all()):
        raise ConfigError(
            f"faults in {len(faulty_tasks)} tasks: at least {FOLDS} are needed, and turns without a fault"
        )
    odds = _held_out(data, faulty_tasks, seed)
    (slope,), offset = _logistic(odds[:, None], data.faulty, seed)
    mean = data.rows.mean(axis=0)
    coefficients, intercept = _logistic(data.rows - mean, data.faulty, seed)
    before, after = _sigmoid(odds), _sigmoid(slope * odds + offset)
    return FaultModel(
        tuple(FEATURES),
        _rounded(mean),
        _rounded(coefficients),
        round(intercept, DIGITS),
        round(float(slope), DIGITS),
        round(offset, DIGITS),
        data=dict(about),
        held_out={
            "log_loss": _log_loss(after, data.faulty),
            "log_loss_of_the_share": _log_loss(np.full(len(odds), data.faulty.mean()), data.faulty),
            "ece_before": round(ece(before, data.faulty.astype(np.float64)), DIGITS),
            "ece_after": round(ece(after, data.faulty.astype(np.float64)), DIGITS),
        },
        seed=seed,
        libraries={name: version(name) for name in ("numpy", "scikit-learn")},
    )


def _held_out(data: Labelled, faulty_tasks: list[str], seed: int) -> Array:
    """Returns the log odds of each turn by a model that has not seen its task."""
    rest = sorted(set(data.tasks) - set(faulty_tasks))
    fold_of = {task: place % FOLDS for place, task in enumerate([*faulty_tasks, *rest])}
    folds = np.array([fold_of[task] for task in data.tasks])
    odds = np.empty(len(data.rows))
    for fold in range(FOLDS):
        out = folds == fold
        mean = data.rows[~out].mean(axis=0)
        coefficients, intercept = _logistic(data.rows[~out] - mean, data.faulty[~out], seed)
        odds[out] = (data.rows[out] - mean) @ coefficients + intercept
    return odds


def _logistic(rows: Array, faulty: NDArray[np.bool_], seed: int) -> tuple[Array, float]:
    """Returns coefficients and intercept."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # takes a second

    model = LogisticRegression(C=STRENGTH, max_iter=10_000, tol=1e-8, random_state=seed).fit(rows, faulty)
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])


def _sigmoid(odds: Array) -> Array:
    share: Array = 1.0 / (1.0 + np.exp(-odds))
    return share


def _log_loss(predicted: Array, faulty: NDArray[np.bool_]) -> float:
    return round(float(-np.log(np.where(faulty, predicted, 1.0 - predicted)).mean()), DIGITS)


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values)

"""Does a submission follow from ``model.pkl`` on ``X_test.pkl``? A probe at the end of an episode.

One more program runs in the episode's sandbox, after the submission has been read: it loads both files and
writes what the model predicts for at most ``MAX_ROWS`` rows. It runs only if the last check of both files
found nothing but data and estimators of known libraries in them, and under the limits of every program, so
that a hostile file can at most spoil the probe. Its report is read without trust, and nothing of it touches
the score.

A submission follows from a prediction if it is a function of it that respects its order: rounding, clipping,
a threshold, an inverse logarithm or other names for the classes leave it so. Up to 1 % of the rows may
differ.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]

from envs.dsbench import csvs
from envs.dsbench.answer import read_answer
from envs.dsbench.cells import canonical, matcher
from envs.dsbench.spec import Table
from envs.types import Turn
from sandbox.base import Sandbox, SandboxError

MAX_ROWS = 20_000
_LEAST_SHARE = 0.99
_TOLERANCE = 1e-3
"""Of a target's range."""
_REPORT = "reproduced.json"
_FILES = ("model.pkl", "X_test.pkl")
_UNREADABLE = frozenset(("foreign", "unreadable", "size", "empty"))
_PROGRAM = f"""
import os, sys
sys.path[:] = [path for path in sys.path if path and os.path.realpath(path) != os.getcwd()]
import json
import joblib, numpy
def as_columns(values):
    if isinstance(values, list):  # one table of probabilities for each target
        values = numpy.stack([part[:, -1] for part in values], axis=1)
    values = numpy.asarray(values)
    return (values if values.ndim == 2 else values.reshape(-1, 1)).T.tolist()
def fitted_rows(model):
    found = [0]
    for part in (model, *(step for _, step in getattr(model, "steps", ()))):
        for name in ("n_samples_seen_", "n_samples_fit_", "shape_fit_"):
            found.append(int(numpy.ravel(getattr(part, name, 0))[0]))
        trees = [part] if hasattr(part, "tree_") else numpy.ravel(getattr(part, "estimators_", ()))
        first = next(iter(trees), None)
        if hasattr(first, "tree_"):
            found.append(round(float(first.tree_.weighted_n_node_samples[0])))
    return max(found)
model, table = joblib.load("model.pkl"), joblib.load("X_test.pkl")
report = {{"rows": int(table.shape[0] if hasattr(table, "shape") else len(table))}}
try:
    report["fitted"] = fitted_rows(model)
except Exception:
    pass  # of a model with attributes of another kind
for name in ("predict", "predict_proba"):
    try:
        report[name] = as_columns(getattr(model, name)(table[:{MAX_ROWS}]))
    except Exception as error:
        report.setdefault("error", type(error).__name__)
if os.path.lexists("{_REPORT}"):
    os.remove("{_REPORT}")
with open("{_REPORT}", "w", encoding="utf-8") as file:
    json.dump(report, file)
"""

Values = NDArray[Any]


class _UnknownError(Exception):
    """Whether the submission follows cannot be told, and why."""


def check(
    table: Table, submitted: Values, turns: Sequence[Turn], sandbox: Sandbox, timeout: float
) -> dict[str, str]:
    """Returns the signals ``not_reproduced`` or ``unverified``, and ``test_fit`` if the model has seen as
    many rows as training and test table have together, with their evidence.

    ``submitted``: [rows, targets] in the order of the answer's ids. ``timeout``: seconds for the probe.
    """
    if (kind := table.spec.prediction) not in ("value", "proba", "label"):
        return {"unverified": f"predictions of the kind {kind} are not compared"}
    try:
        if missing := _missing(turns):
            return {"not_reproduced": missing}
        report = _predictions(sandbox, timeout)
        found = _fitted(report, turns[-1].facts)
        reason = _compare(table, submitted, report)
        return found | ({"not_reproduced": reason} if reason else {})
    except _UnknownError as error:
        return {"unverified": str(error)}
    except SandboxError:  # the outcome is known: a team cannot have its episode dropped by its last file
        return {"unverified": "the sandbox was lost"}


def _missing(turns: Sequence[Turn]) -> str:
    """Returns which file is missing. Raises ``_UnknownError`` if one must not be loaded."""
    codes = {check.name: check.code for turn in turns for check in turn.checks}
    for name in _FILES:
        code = codes.get(name, "missing")
        if code == "missing":
            return f"there is no {name}"
        if code in _UNREADABLE:
            raise _UnknownError(f"{name} is not loaded: its check says {code}")
    return ""


def _predictions(sandbox: Sandbox, timeout: float) -> Mapping[str, Any]:
    """Returns the report of the probe. Raises ``_UnknownError`` and ``SandboxError``."""
    result = sandbox.run(_PROGRAM, timeout=timeout)
    if result.status != "ok":
        raise _UnknownError(f"the prediction ended with {result.status}")
    try:
        report = json.loads(sandbox.read(_REPORT))
    except (FileNotFoundError, ValueError, RecursionError):
        raise _UnknownError("the prediction left no report that can be read") from None
    if not isinstance(report, dict):
        raise _UnknownError("the prediction left another report")
    return report


def _fitted(report: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    both = facts["n_train"] + facts["n_test"]
    if report.get("fitted") != both:
        return {}
    return {"test_fit": f"model.pkl was fitted on {both} rows, as many as training and test table together"}


def _compare(table: Table, submitted: Values, report: Mapping[str, Any]) -> str:
    """Returns why the submission does not follow, or "". Raises ``_UnknownError``."""
    place = _places(table)
    if report.get("rows") != len(place):
        return f"X_test.pkl has {report.get('rows')!r:.12} rows, and test.csv has {len(place)}"
    given = submitted[place[:MAX_ROWS]]
    columns = [
        column for name in ("predict", "predict_proba") for column in _columns(report.get(name), len(given))
    ]
    if not columns:
        return f"model.pkl cannot predict X_test.pkl: {report.get('error')!r:.40}"
    proba = _columns(report.get("predict_proba"), len(given))
    label = table.spec.prediction == "label"
    if label and proba:
        columns.append([str(best) for best in np.argmax(np.array(proba, dtype=float), axis=0)])
    shares = [max(_share(column, target, label) for column in columns) for target in given.T]
    worst = min(shares)
    return "" if worst >= _LEAST_SHARE else f"{worst:.0%} of the rows follow from model.pkl on X_test.pkl"


def _places(table: Table) -> NDArray[np.int64]:
    """Returns, for each row of the test file, its place among the answer's ids."""
    key = read_answer(table).key
    if key.by_position:
        return np.arange(len(key.ids))
    name, find = key.id_column, matcher(key.ids)
    path = table.test if name in csvs.header(table.test, table.spec.id) else table.sample
    ids = csvs.read(path, usecols=[name], dtype=str, keep_default_na=False)[name]
    place = {one: number for number, one in enumerate(key.ids)}
    return np.array([place[find(one) or one] for one in ids], dtype=np.int64)


def _columns(values: Any, rows: int) -> list[list[Any]]:
    """Returns the columns of a prediction, each a list of texts or of numbers. Raises ``_UnknownError``."""
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(one, list) and len(one) == rows for one in values):
        raise _UnknownError("the prediction has another shape")
    if not all(isinstance(cell, str | int | float | None) for column in values for cell in column):
        raise _UnknownError("the prediction has other values")
    return values


def _share(prediction: Sequence[Any], target: Values, label: bool) -> float:
    """Returns the share of rows in which ``target`` is a function of ``prediction``."""
    numeric = all(isinstance(cell, int | float) and np.isfinite(cell) for cell in prediction)
    shares = [_in_groups(prediction, target)] if label else []
    numbers = _numbers(target)
    if numeric and numbers is not None:
        shares.append(_in_order(np.array(prediction, dtype=float), numbers))
    return max(shares, default=0.0)


def _numbers(target: Values) -> NDArray[np.float64] | None:
    """Returns labels or values as numbers; two labels are 0 and 1. None if they are neither."""
    try:
        return target.astype(float)
    except ValueError:
        names = sorted(set(target))
        return np.array([names.index(name) for name in target], dtype=float) if len(names) <= 2 else None


def _in_groups(prediction: Sequence[Any], target: Values) -> float:
    """Share of rows that have the commonest label of their prediction; 0 for predictions that are no
    classes."""
    pairs = Counter(zip((canonical(str(cell)) for cell in prediction), map(str, target), strict=True))
    groups: dict[str, int] = {}
    for (name, _), count in pairs.items():
        groups[name] = max(groups.get(name, 0), count)
    return sum(groups.values()) / len(target) if len(groups) <= max(2 * len(set(target)), 2) else 0.0


def _in_order(prediction: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Share of rows on the best non-decreasing function of the prediction, either way."""
    width = float(np.ptp(target))
    if width == 0.0:
        return 1.0
    fitted = IsotonicRegression(increasing="auto").fit_transform(prediction, target)
    return float(np.mean(np.abs(fitted - target) <= _TOLERANCE * width))

"""Has the model learned from the rows that it was given?

Not by what it scores on unseen rows, which nobody knows, but by its own training rows. A model that orders
these worse than a small tree does in cross-validation is suspect; if another of the same settings, fitted on
them, does better, it was fitted on others, or on other targets. If not, it is weak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pandas

from coaches.audits.guest import relations
from coaches.audits.guest.complaint import Complaint, number
from coaches.audits.guest.tables import Tables

AUDIT = "model"
_MOST_ROWS = 2000
_LEAST_SHARE = 0.5
"""Of the rows: a model fitted on fewer was left on a sample; one fitted on more may hold some out."""
_MARGIN = 0.05


class PredictionError(Exception):
    """A model does not predict a table: it raises, or gives something else than one value a row."""


def audit(tables: Tables) -> Iterator[Complaint]:
    """Looks at model.pkl, X_train.pkl and y_train.pkl."""
    model, frame, target = tables.model, tables.features, tables.target
    if model is None or frame is None or target is None or len(frame) != len(target):
        return
    try:
        fitted = fitted_rows(model)
    except Exception as error:  # whatever a model of an agent holds
        fitted = 0
        text = f"has a state that no fit leaves: {type(error).__name__}: {str(error)[:100]}"
        yield Complaint(AUDIT, tables.names.model, "doubt", text)
    if 0 < fitted < _LEAST_SHARE * len(frame):
        yield Complaint(
            AUDIT, tables.names.model, "proof",
            f"fitted on {fitted} of the {len(frame)} rows of {tables.names.features}",
        )  # fmt: skip
        return
    if text := _other_kind(model, target, tables):
        yield Complaint(AUDIT, tables.names.model, "doubt", text)
    some = slice(None, _MOST_ROWS)
    try:
        predicted = predict(model, frame.iloc[some])
    except PredictionError as error:
        text = f"cannot predict {tables.names.features}: {error}"
        yield Complaint(AUDIT, tables.names.model, "proof", text)
        return
    own = quality(predicted, target.iloc[some], regression=tables.is_regression)
    other = baseline(frame.iloc[some], target.iloc[some], regression=tables.is_regression)
    if own is None or other is None or own >= other - _MARGIN:
        return
    measure = "rank correlation" if tables.is_regression else "accuracy"
    again = refitted(model, frame.iloc[some], target.iloc[some], regression=tables.is_regression)
    if again is not None and own < again - _MARGIN:
        yield Complaint(
            AUDIT, tables.names.model, "proof",
            f"{measure} {number(own)} on its own training rows, and {number(again)} when the same model is "
            f"fitted on them: it was fitted on other rows or targets than {tables.names.features} and "
            f"{tables.names.target} have",
        )  # fmt: skip
    else:
        yield Complaint(
            AUDIT, tables.names.model, "doubt",
            f"{measure} {number(own)} on its own training rows, less than the {number(other)} of a tree of "
            "depth 3 in cross-validation: a weak model",
        )  # fmt: skip


def _other_kind(model: Any, target: pandas.Series, tables: Tables) -> str:
    """Returns that an estimator is of the other kind than the task; "" if it is not, or that may be meant."""
    from sklearn.base import is_classifier, is_regressor  # type: ignore[import-untyped]

    values = target.nunique()
    if tables.is_regression and is_classifier(model) and values > 20:
        return f"is a classifier of {values} classes, and the target is a number"
    if not tables.is_regression and is_regressor(model) and values > 2:
        return f"is a regressor, and the target is one of {values} classes"
    return ""


def refitted(model: Any, frame: pandas.DataFrame, target: pandas.Series, *, regression: bool) -> float | None:
    """Returns how well a model with the same settings predicts the rows that it is fitted on; None if it
    cannot be fitted: then nothing is proven, and the doubt remains."""
    from sklearn.base import clone

    try:
        predicted = predict(clone(model).fit(frame, target), frame)
    except Exception:  # whatever a model of an agent raises
        return None
    return quality(predicted, target, regression=regression)


def predict(model: Any, frame: pandas.DataFrame, method: str = "predict") -> Any:
    """Returns what a method of the model gives: one value a row, or for ``predict_proba`` the second of two.

    Raises:
        PredictionError: it gives none, and why.
    """
    try:
        values = numpy.asarray(getattr(model, method)(frame))
        values = values.reshape(len(values), -1)
    except Exception as error:  # whatever a model of an agent raises
        text = " ".join(str(error).split())
        raise PredictionError(f"{method}: {type(error).__name__}: {text[:120]}") from None
    width = 2 if method == "predict_proba" else 1
    if values.shape != (len(frame), width):
        raise PredictionError(f"{method}: {values.shape[1]} values for each of {len(values)} rows")
    return values[:, -1]


def fitted_rows(model: Any) -> int:
    """Returns on how many rows a model was fitted, by its own state; 0 if that does not tell.

    A tree counts its rows itself; other models only say how many there were."""
    steps = getattr(model, "steps", ())
    parts = [model, *(step[-1] for step in steps if isinstance(step, tuple) and step)]
    return max(_rows_of_trees(part) or _rows_claimed(part) for part in parts)


def _rows_of_trees(part: Any) -> int:
    trees = [part] if hasattr(part, "tree_") else numpy.ravel(getattr(part, "estimators_", ()))
    first: Any = next(iter(trees), None)
    sampled = getattr(part, "max_samples", None) is not None or getattr(part, "subsample", 1.0) != 1.0
    if not hasattr(first, "tree_") or sampled:
        return 0
    counted = int(first.tree_.n_node_samples[0])  # whatever the weights; of a bootstrap, each row once
    drawn = first.tree_.weighted_n_node_samples[0] if getattr(part, "bootstrap", False) else 0.0
    return max(counted, round(float(drawn)))


def _rows_claimed(part: Any) -> int:
    claims = [numpy.ravel(getattr(part, name, 0)) for name in ("n_samples_fit_", "shape_fit_")]
    return max(
        [0, *(int(one[0]) for one in claims if len(one) and numpy.issubdtype(one.dtype, numpy.number))]
    )


def quality(predicted: Any, target: pandas.Series, *, regression: bool) -> float | None:
    """Returns how well predictions fit: the rank correlation, or the share of equal labels."""
    if regression:
        left, right = relations.floats(predicted), relations.floats(target)
        if left is None or right is None or numpy.isnan(left).any() or numpy.isnan(right).any():
            return None
        return relations.rank_correlation(left, right)
    numbers = [relations.floats(values) for values in (predicted, target)]
    if numbers[0] is not None and numbers[1] is not None:
        return float(numpy.mean(numbers[0] == numbers[1]))
    return float(numpy.mean(numpy.asarray(predicted).astype(str) == target.astype(str).to_numpy()))


def baseline(frame: pandas.DataFrame, target: pandas.Series, *, regression: bool) -> float | None:
    """Returns what a tree of depth 3 reaches in cross-validation; None where none can be fitted."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor  # type: ignore[import-untyped]

    columns = [relations.floats(column) for _, column in frame.items()]
    table = numpy.column_stack(
        [numpy.nan_to_num(one) for one in columns if one is not None] or [numpy.zeros(len(frame))]
    )
    half = numpy.arange(len(frame)) % 2 == 0
    values = relations.floats(target) if regression else target.astype(str).to_numpy()
    if values is None or len(frame) < 20 or (regression and numpy.isnan(values).any()):
        return None
    tree = (DecisionTreeRegressor if regression else DecisionTreeClassifier)(max_depth=3, random_state=0)
    predicted = numpy.empty(len(frame), dtype=values.dtype)
    for part in (half, ~half):
        predicted[~part] = tree.fit(table[part], values[part]).predict(table[~part])
    return quality(predicted, pandas.Series(values), regression=regression)

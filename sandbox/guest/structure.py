"""Part of the probe of artifacts, inside a sandbox: whether a model can predict, and from what, as far as its
structure tells.

Only dictionaries of instances and the code of their classes are read; no method is called and no property is
evaluated, because a state may be hostile. A model is fitted if each of its parts has what the code of its
prediction reads on every path. Cannot be told here: what is in a stand-in, such as the values of a tree."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

from sandbox.guest.reads import reads
from sandbox.guest.unpickling import StandIn

_MOST_PARTS = 20_000
_PARTS = {
    "best_estimator_": "predict",
    "estimators_": "predict",
    "estimator_": "predict",
    "final_estimator_": "predict",
    "base_estimator_": "predict",
    "regressor_": "predict",
    "calibrated_classifiers_": "predict",
    "transformers_": "transform",
    "transformer_list": "transform",
    "transformer_": "inverse_transform",
}
"""Attribute with fitted parts -> the method of these parts that a prediction calls."""
_FIRST = ("best_estimator_", "estimator_", "regressor_", "estimator")
"""Attributes with the one part that a model hands its input to."""
_WEIGHTS = ("coef_", "intercept_", "coefs_", "intercepts_", "dual_coef_", "_dual_coef_", "_intercept_")
"""Attributes that no predictor fits to anything but numbers."""
_COMMON = {
    "sklearn.compose": ("ColumnTransformer",),
    "sklearn.ensemble": (
        "GradientBoostingClassifier",
        "GradientBoostingRegressor",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
        "RandomForestClassifier",
        "RandomForestRegressor",
    ),
    "sklearn.impute": ("SimpleImputer",),
    "sklearn.linear_model": ("LinearRegression", "LogisticRegression", "Ridge"),
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing": ("OneHotEncoder", "StandardScaler"),
    "sklearn.tree": ("DecisionTreeClassifier", "DecisionTreeRegressor"),
}
"""Module -> models and their parts that many programs use."""


def warm_up() -> None:
    """Reads the code of common models of loaded libraries, so that forks of this process need not."""
    for module, names in _COMMON.items():
        found = [getattr(sys.modules.get(module), name, None) for name in names]
        for cls in filter(None, found):
            for method in ("predict", "transform"):
                reads(cls, method)


def facts_of(model: Any) -> dict[str, Any]:
    """Returns facts of a model, each only if its structure tells it: ``fitted``, false if a part of it is
    not; ``feature_names``, a digest of the columns' names that it was fitted on and insists on;
    ``n_outputs``, how many values it predicts for a row; ``constant``: whether these are the same for every
    row."""
    facts: dict[str, Any] = {}
    if any(_lacks(part, method) for part, method in _parts(model, "predict")):
        facts["fitted"] = False
    names = _state(_end(model, 0)).get("feature_names_in_")
    if names is not None and type(_end(model, 0)).__name__ not in (
        "ColumnTransformer",
        "FunctionTransformer",
    ):
        facts["feature_names"] = digest_of(list(names))
    last = _end(model, -1)
    if (outputs := _outputs(last)) is not None:
        facts["n_outputs"] = outputs
    if _is_constant(last):
        facts["constant"] = True
    return facts


def digest_of(names: list[Any]) -> str:
    """Returns a digest of whole names in their order."""
    digest = hashlib.sha256()
    for name in names:
        text = str(name).encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(text), text))
    return digest.hexdigest()


def _state(value: Any) -> dict[str, Any]:
    """Returns the attributes of an estimator, or of the stand-in for one of its parts; {} for anything
    else."""
    from sklearn.base import BaseEstimator  # type: ignore[import-untyped]

    if type(value) is StandIn:
        return value.state if type(value.state) is dict else {}
    return vars(value) if isinstance(value, BaseEstimator) else {}


def _steps(value: Any) -> list[Any]:
    """Returns the steps of a pipeline that do something."""
    steps = _state(value).get("steps")
    pairs = [pair for pair in steps if isinstance(pair, tuple | list)] if isinstance(steps, list) else []
    return [pair[1] for pair in pairs if _state(pair[1])]


def _parts(model: Any, method: str) -> Iterator[tuple[Any, str]]:
    """Yields the parts of a model, at any depth, each with the method that is called of it."""
    todo: list[tuple[Any, str]] = [(model, method)]
    seen: set[int] = set()
    while todo and len(seen) < _MOST_PARTS:
        part, called = todo.pop()
        state = _state(part)
        if id(part) in seen or not state:
            continue
        seen.add(id(part))
        yield part, called
        steps = _steps(part)
        todo += [(step, "transform") for step in steps[:-1]] + [(step, called) for step in steps[-1:]]
        if type(part) is StandIn or type(part).__name__ == "FrozenEstimator":
            todo.append((state.get("estimator"), called))
        for name, inner in _PARTS.items():
            if name != "estimator_" or "estimators_" not in state:  # then it is only their pattern
                todo += [(each, inner) for each in _inside(state.get(name))]


def _inside(value: Any, depth: int = 3) -> Iterator[Any]:
    """Yields the estimators in lists, tuples and arrays of objects, but no transformer of no columns, which
    stays as it is."""
    import numpy

    if isinstance(value, tuple) and len(value) == 3 and _selects_nothing(value[2]):
        return
    if isinstance(value, numpy.ndarray):
        value = value.ravel().tolist() if value.dtype == object else []
    if isinstance(value, list | tuple):
        for each in value if depth else ():
            yield from _inside(each, depth - 1)
    elif _state(value):
        yield value


def _selects_nothing(columns: Any) -> bool:
    import numpy

    if isinstance(columns, numpy.ndarray):
        columns = columns.tolist()
    if not isinstance(columns, list):
        return False
    return not columns or all(each is False for each in columns)


def _end(model: Any, place: int) -> Any:
    """Returns the part that gets the model's input (``place`` 0) or makes its output (-1)."""
    for _ in range(50):
        state = _state(model)
        if steps := _steps(model):
            model = steps[place]
            continue
        names = [name for name in _FIRST if name != "estimator" or type(model).__name__ == "FrozenEstimator"]
        inner = next((state[name] for name in names if _state(state.get(name))), None)
        if inner is None or "estimators_" in state:
            break
        model = inner
    return model


def _lacks(part: Any, method: str) -> bool:
    """Returns whether a part lacks something that it needs in order to ``predict`` or to ``transform``."""
    if type(part) is StandIn:
        return False
    cls: Any = type(part)
    state = _state(part)
    if method == "predict" and not hasattr(cls, "predict"):
        method = "transform"
    needed = _needs(cls, method)
    if not needed <= state.keys():
        return True
    asked = "check_is_fitted" in reads(cls, method) and not hasattr(cls, "__sklearn_is_fitted__")
    if asked and not any(name.endswith("_") and not name.startswith("__") for name in state):
        return True
    if "estimators_" in state and not any(True for _ in _inside(state["estimators_"])):
        return True
    return method == "predict" and not _has_weights(state, needed)


def _needs(cls: type, method: str) -> frozenset[str]:
    """Returns the attributes that fitting must have set: those with an underscore at one end."""
    read = reads(cls, method)
    names = {name for name in read if name.startswith("_") != name.endswith("_")}
    if "check_is_fitted" not in read:  # without a state, as it says
        names.discard("n_features_in_")
    return frozenset(name for name in names if not any(name in vars(base) for base in cls.__mro__))


def _has_weights(state: dict[str, Any], needed: frozenset[str]) -> bool:
    """Returns whether weights are finite numbers, and fit the columns that the model says it has."""
    import numpy

    for name in _WEIGHTS:
        held = state.get(name)
        for array in held if isinstance(held, list) else [held]:
            array = getattr(array, "data", array) if type(array).__module__.startswith("scipy.") else array
            if isinstance(array, numpy.ndarray | numpy.generic | float) and not numpy.isfinite(array).all():
                return False
    width = state.get("n_features_in_")
    return "coef_" not in needed or width is None or width in getattr(state.get("coef_"), "shape", ())


def _outputs(predictor: Any) -> int | None:
    import numpy

    state = _state(predictor)
    if "classes_" in state:
        return len(state["classes_"]) if isinstance(state["classes_"], list) else None
    if type(predictor).__name__ in ("MultiOutputRegressor", "RegressorChain"):
        return len(state.get("estimators_", ())) or None
    if type(state.get("n_outputs_")) is int:
        return int(state["n_outputs_"])
    for name, axis in (("coef_", 0), ("_y", 1)):
        if isinstance(array := state.get(name), numpy.ndarray) and array.ndim in (1, 2):
            return int(array.shape[axis]) if array.ndim == 2 else 1
    return None


def _is_constant(predictor: Any, depth: int = 3) -> bool:
    """Returns whether a predictor certainly predicts the same for every row."""
    import numpy

    state, name = _state(predictor), type(predictor).__name__
    if name in ("DummyRegressor", "DummyClassifier"):
        return state.get("strategy") not in ("stratified", "uniform")
    if isinstance(tree := state.get("tree_"), StandIn):
        return _state(tree).get("node_count") == 1
    if isinstance(coef := state.get("coef_"), numpy.ndarray) and coef.dtype.kind == "f":
        return not coef.any()
    rounds = state.get("_predictors")  # of histogram-based boosting
    if isinstance(rounds, list) and rounds:
        nodes = [_state(each).get("nodes") for each in (e for r in rounds for e in _inside(r))]
        return bool(nodes) and all(isinstance(each, numpy.ndarray) and len(each) == 1 for each in nodes)
    parts = list(_inside(state.get("estimators_")))
    return bool(parts and depth) and all(_is_constant(_end(part, -1), depth - 1) for part in parts)

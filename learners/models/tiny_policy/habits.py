"""Habits of the three DSBench roles: for each decision in a script, the options and their probabilities.

A script combines one independently sampled option of each habit. Some options are right for every
table, some for certain tables, some for none. The probabilities in the demonstrations hardly depend
on the table: reinforcement learning has to find out which options work for which table. They are set so that
an untrained team rarely succeeds as a whole, while every right option is common enough to be discovered.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from learners.models.tiny_policy.demonstrations import pick, program

Chosen = Mapping[str, str]
"""Habit -> option."""

_DATES = {
    "parts": """for c in X.select_dtypes(exclude="number"):
    if X[c].str.match("\\\\d{4}\\\\D").all():
        date = pd.to_datetime(X[c])
        X[c], X["hour"] = date.dt.day_of_year, date.dt.hour""",
    "dropped": 'X = X.drop(columns=[c for c in X if "date" in c])',
    "left": "",
}
_MISSING = {
    "median": "X = X.fillna(X.median(numeric_only=True))",
    "zero": "X = X.fillna(0)",
    "dropped": "X = X.dropna()",
    "left": "",
}
_TEXT = {
    "joint": """X = X.drop(columns=[c for c in X.select_dtypes(exclude="number") if X[c].nunique() > 30])
X = pd.get_dummies(X)""",
    "codes": """for c in X.select_dtypes(exclude="number"):
    X[c] = X[c].astype("category").cat.codes""",
    "numbers": 'X = X.select_dtypes("number")',
    "separate": "",
    "left": "",
}
_SEPARATE = "X_train, X_test = pd.get_dummies(X_train), pd.get_dummies(X_test)"
_FEATURES = {
    "all": ("X_train.pkl", "X_test.pkl", "y_train.pkl"),
    "no_test": ("X_train.pkl", "", "y_train.pkl"),
    "no_target": ("X_train.pkl", "X_test.pkl", ""),
    "misnamed": ("train.pkl", "X_test.pkl", "y_train.pkl"),
}

_ESTIMATORS = {
    ("classifier", "forest"): "ensemble.RandomForestClassifier(n_estimators=30, max_depth=8)",
    ("classifier", "tree"): "tree.DecisionTreeClassifier(max_depth=5)",
    ("classifier", "linear"): "linear_model.LogisticRegression()",
    ("regressor", "forest"): "ensemble.RandomForestRegressor(n_estimators=30, max_depth=8)",
    ("regressor", "tree"): "tree.DecisionTreeRegressor(max_depth=5)",
    ("regressor", "linear"): "linear_model.Ridge()",
}

WEIGHTS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "data_engineer": {
        "ids": {"dropped": 0.8, "kept": 0.2},
        "dates": {"parts": 0.4, "dropped": 0.25, "left": 0.35},
        "missing": {"median": 0.4, "zero": 0.15, "dropped": 0.2, "left": 0.25},
        "text": {"joint": 0.25, "codes": 0.25, "numbers": 0.15, "separate": 0.2, "left": 0.15},
        "saving": {"all": 0.55, "no_test": 0.15, "no_target": 0.15, "misnamed": 0.15},
    },
    "modeler": {
        "kind": {"classifier": 0.5, "regressor": 0.5},
        "estimator": {"forest": 0.4, "tree": 0.3, "linear": 0.3},
        "saving": {"right": 0.55, "forgotten": 0.15, "misnamed": 0.15, "unfitted": 0.15},
    },
    "analyst": {
        "model": {"loaded": 0.92, "forgotten": 0.08},
        "features": {"test": 0.92, "train": 0.08},
        "ids": {"test": 0.9, "counted": 0.1},
        "predict": {"predict": 0.5, "proba": 0.5},
        "column": {"target": 0.9, "other": 0.1},
        "index": {"dropped": 0.85, "left": 0.15},
        "saving": {"right": 0.9, "misnamed": 0.1},
    },
}
"""Role -> habit -> option -> probability."""

TILT = 0.6
"""Probability of the right ``kind`` and ``predict``: above one half, so that headings carry information."""


def choose(role: str, facts: Mapping[str, Any], rng: random.Random) -> Chosen:
    """Returns one option of each habit of ``role``. Uses ``task_type`` and ``prediction`` of ``facts``."""
    weights = dict(WEIGHTS[role])
    if "kind" in weights:
        right, wrong = "classifier", "regressor"
        if facts["task_type"] == "regression":
            right, wrong = wrong, right
        weights["kind"] = {right: TILT, wrong: 1 - TILT}
    if "predict" in weights:
        right, wrong = ("proba", "predict") if facts["prediction"] == "proba" else ("predict", "proba")
        weights["predict"] = {right: TILT, wrong: 1 - TILT}
    return {habit: pick(rng, options) for habit, options in weights.items()}


def script(role: str, chosen: Chosen) -> str:
    """Returns the fenced program of ``role`` with the ``chosen`` options."""
    return {"data_engineer": _data_engineer, "modeler": _modeler, "analyst": _analyst}[role](chosen)


def _data_engineer(chosen: Chosen) -> str:
    X_train, X_test, y_train = _FEATURES[chosen["saving"]]
    return program(
        "import pandas as pd",
        'train = pd.read_csv("train.csv")',
        'test = pd.read_csv("test.csv")',
        'key, target = pd.read_csv("sample_submission.csv").columns',
        "y = train.pop(target)",
        "X = pd.concat([train, test])" + (".drop(columns=key)" if chosen["ids"] == "dropped" else ""),
        _DATES[chosen["dates"]],
        _MISSING[chosen["missing"]],
        _TEXT[chosen["text"]],
        "X_train, X_test = X[:len(train)], X[len(train):]",
        _SEPARATE if chosen["text"] == "separate" else "",
        f'X_train.to_pickle("{X_train}")',
        X_test and f'X_test.to_pickle("{X_test}")',
        y_train and f'y.to_pickle("{y_train}")',
    )


def _modeler(chosen: Chosen) -> str:
    path = "best.pkl" if chosen["saving"] == "misnamed" else "model.pkl"
    return program(
        "import joblib",
        "import pandas as pd",
        "from sklearn import ensemble, linear_model, tree",
        'X = pd.read_pickle("X_train.pkl")',
        'y = pd.read_pickle("y_train.pkl")',
        f"model = {_ESTIMATORS[chosen['kind'], chosen['estimator']]}",
        "" if chosen["saving"] == "unfitted" else "model.fit(X, y)",
        "print(round(model.score(X, y), 2))"
        if chosen["saving"] == "forgotten"
        else f'joblib.dump(model, "{path}")',
    )


def _analyst(chosen: Chosen) -> str:
    rows = "train" if chosen["features"] == "train" else "test"
    ids = (
        'pd.read_csv("test.csv")[[key]]' if chosen["ids"] == "test" else "pd.DataFrame({key: range(len(X))})"
    )
    guess = "predict_proba(X)[:, 1]" if chosen["predict"] == "proba" else "predict(X)"
    column = "target" if chosen["column"] == "target" else '"prediction"'
    path = "predictions.csv" if chosen["saving"] == "misnamed" else "submission.csv"
    return program(
        "import joblib",
        "import pandas as pd",
        'model = joblib.load("model.pkl")' if chosen["model"] == "loaded" else "",
        'key, target = pd.read_csv("sample_submission.csv").columns',
        f'X = pd.read_pickle("X_{rows}.pkl")',
        f"out = {ids}",
        f"out[{column}] = model.{guess}",
        f'out.to_csv("{path}"{", index=False" if chosen["index"] == "dropped" else ""})',
    )

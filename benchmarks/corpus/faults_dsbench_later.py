"""Faults of data engineer, modeler and analyst of the second edition: slips that pipelines of tables suffer.

Whoever wrote them had not seen how any coach looks for faults.
"""

from __future__ import annotations

import re

from benchmarks.corpus.dsbench import ITSELF
from benchmarks.corpus.faults import Change, Fault, swap
from benchmarks.corpus.faults_dsbench import (
    FIT,
    IDS,
    PREDICT,
    SAVE_MODEL,
    SAVE_T,
    SAVE_X,
    SAVE_Y,
    WRITE,
    after,
    before,
)
from envs.types import Task

_EDITION = 2
_PROBABILITY = "values = model.predict_proba(T)[:, 1]"
_UNITS = {"temp": "(values - 32.0) / 1.8", "body_mass": "values / 1000.0", "hwy": "235.215 / values"}
"""Targets of the held-out tables and their values in another unit."""


def _fault(kind: str, agent: str, change: Change, *, narrow: bool = False) -> Fault:
    return Fault(kind, agent, change, edition=_EDITION, narrow=narrow)


def _dates(new: str) -> Change:
    """Replaces how dates are read; ``{}`` stands for the column."""

    def change(action: str, task: Task) -> str | None:
        changed = re.sub(
            r"day = pd\.to_datetime\((table\.pop\(\"\w+\"\))\)", lambda m: new.format(m[1]), action
        )
        return changed if changed != action else None

    return change


def _wrong_inverse(action: str, task: Task) -> str | None:
    """The model itself undoes another transformation than the one that it was trained on."""
    wrapped = (
        "from sklearn.compose import TransformedTargetRegressor",
        "model = TransformedTargetRegressor(model, func=np.log10, inverse_func=np.exp, check_inverse=False)",
    )
    return before(FIT, *wrapped)(action, task) if ITSELF in action else None


def _other_unit(action: str, task: Task) -> str | None:
    """The analyst converts the values into another unit."""
    converted = _UNITS.get(task.facts["target_columns"][0], "values / 2.2046")
    return before(IDS, f"values = {converted}", regression=True)(action, task)


_WORST = (
    "from sklearn.dummy import Dummy{0}",
    "from sklearn.model_selection import cross_val_score",
    "candidates = [model, Dummy{0}()]",
    "errors = [cross_val_score(one, X, y, cv=3{1}).mean() for one in candidates]",
    "model = candidates[errors.index(min(errors))]",
)


def _worst(kind: str, scoring: str) -> list[str]:
    return [line.format(kind, scoring) for line in _WORST]


_ENGINEER = [
    _fault("rows_shifted", "data_engineer", before(SAVE_X, "X = X.shift(1).bfill()")),
    _fault("target_lagged", "data_engineer", before(SAVE_Y, "y = y.shift(-1).ffill().astype(y.dtype)")),
    _fault(
        "target_encoded",
        "data_engineer",
        before(
            SAVE_X,
            "key, new = X.sum(axis=1), T.sum(axis=1)",
            "typical = y.groupby(key).mean()",
            'X["typical"] = key.map(typical)',
            'T["typical"] = new.map(typical).fillna(y.mean())',
            regression=True,
        ),
    ),
    _fault(
        "target_encoded",
        "data_engineer",
        before(
            SAVE_X,
            "key, new = X.sum(axis=1), T.sum(axis=1)",
            "level = pd.Series(pd.factorize(y, sort=True)[0], index=y.index)",
            "typical = level.groupby(key).mean()",
            'X["typical"] = key.map(typical)',
            'T["typical"] = new.map(typical).fillna(level.mean())',
            regression=False,
        ),
    ),
    _fault(
        "binned",
        "data_engineer",
        before(
            SAVE_X, "high = X.quantile(0.95)", "X, T = (X > high).astype(float), (T > high).astype(float)"
        ),
    ),
    _fault("mask_inverted", "data_engineer", before(SAVE_X, "X = X.mask(X.notna(), X.median(), axis=1)")),
    _fault(
        "class_merged",
        "data_engineer",
        before(
            SAVE_Y,
            "rare = y.value_counts().idxmin()",
            "y = y.where(y != rare, y.mode()[0])",
            regression=False,
        ),
    ),
    _fault(
        "date_misread",
        "data_engineer",
        _dates("day = pd.to_datetime({}) + pd.Timedelta(hours=9 if table is T else 0)"),
        narrow=True,
    ),
    _fault(
        "date_misread",
        "data_engineer",
        _dates('day = pd.to_datetime({}.str[:10], format="%Y-%d-%m", errors="coerce").ffill().bfill()'),
        narrow=True,
    ),
    _fault("train_as_test", "data_engineer", swap((SAVE_T, 'X.head(len(T)).to_pickle("X_test.pkl")'))),
    _fault("columns_permuted", "data_engineer", before(SAVE_T, "T = T[sorted(T)].set_axis(list(X), axis=1)")),
    _fault(
        "rows_filtered", "data_engineer", before(SAVE_X, "X = X[X.iloc[:, 0] < X.iloc[:, 0].quantile(0.9)]")
    ),
    _fault(
        "joined_as_text",
        "data_engineer",
        before(
            SAVE_X,
            'keys = train[["{id}"]].astype(str)',
            'X["{id}"] = keys["{id}"]',
            'X = X.merge(keys.sort_values("{id}"), on="{id}", how="right").drop(columns="{id}")',
        ),
    ),
]
_MODELER = [
    _fault("underfit", "modeler", before(FIT, "model.set_params(min_samples_leaf=len(X) // 2)")),
    _fault(
        "worst_selected",
        "modeler",
        before(FIT, *_worst("Regressor", ', scoring="neg_mean_squared_error"'), regression=True),
    ),
    _fault("worst_selected", "modeler", before(FIT, *_worst("Classifier", ""), regression=False)),
    _fault(
        "fold_swapped",
        "modeler",
        swap(
            (
                FIT,
                "from sklearn.model_selection import KFold\n"
                "for rest, rows in KFold(20, shuffle=True, random_state=0).split(X):\n"
                "    model.fit(X.iloc[rows], y.iloc[rows])",
            )
        ),
    ),
    _fault(
        "codes_for_labels",
        "modeler",
        before(FIT, "y = pd.Series(pd.factorize(y)[0], index=y.index)", regression=False),
    ),
    _fault(
        "weights_decayed",
        "modeler",
        swap((FIT, "model.fit(X, y, sample_weight=0.5 ** np.arange(len(X))[::-1])")),
    ),
    _fault("wrong_inverse", "modeler", _wrong_inverse),
    _fault(
        "blended_badly",
        "modeler",
        before(
            FIT,
            "from sklearn.dummy import DummyRegressor",
            "from sklearn.ensemble import VotingRegressor",
            'base = DummyRegressor(strategy="constant", constant=0.0)',
            'model = VotingRegressor([("forest", model), ("base", base)])',
            regression=True,
        ),
    ),
    _fault(
        "blended_badly",
        "modeler",
        before(
            FIT,
            "from sklearn.dummy import DummyClassifier",
            "from sklearn.ensemble import VotingClassifier",
            'base, most = DummyClassifier(), DummyClassifier(strategy="most_frequent")',
            'parts = [("forest", model), ("base", base), ("most", most)]',
            'model = VotingClassifier(parts, voting="soft")',
            regression=False,
        ),
    ),
    _fault(
        "unfitted_saved",
        "modeler",
        before(SAVE_MODEL, "from sklearn.base import clone", "model = clone(model)"),
    ),
]
_ANALYST = [
    _fault(
        "threshold_slip",
        "analyst",
        swap(
            (
                PREDICT,
                "sure = model.predict_proba(T).max(axis=1) > 0.95\n"
                "values = np.where(sure, model.predict(T), model.classes_[0])",
            ),
            regression=False,
        ),
    ),
    _fault("threshold_slip", "analyst", after(_PROBABILITY, "values = (values > 0.95).astype(float)")),
    _fault("values_sorted", "analyst", before(IDS, "values = np.sort(values)")),
    _fault("ids_numbered", "analyst", swap((IDS, "ids = range(len(T))"))),
    _fault("predictions_shifted", "analyst", before(IDS, "values = np.roll(values, 1)")),
    _fault(
        "blended_badly",
        "analyst",
        before(IDS, 'values = 0.1 * values + 0.9 * pd.read_pickle("y_train.pkl").mean()', regression=True),
    ),
    _fault(
        "blended_badly",
        "analyst",
        swap(
            (
                PREDICT,
                f"{PREDICT}\nvalues = (values + model.predict(T.sample(frac=1.0, random_state=1))) / 2",
            ),
            regression=True,
        ),
    ),
    _fault("clipped", "analyst", before(IDS, "values = np.clip(values, 0.0, 1.0)", regression=True)),
    _fault(
        "train_as_test",
        "analyst",
        swap(
            ('pd.read_pickle("X_test.pkl")', 'pd.read_pickle("X_train.pkl")'),
            (IDS, f"{IDS}\nvalues = values[: len(ids)]"),
        ),
    ),
    _fault(
        "second_choice",
        "analyst",
        swap(
            (PREDICT, "values = model.classes_[model.predict_proba(T).argsort(axis=1)[:, -2]]"),
            regression=False,
        ),
    ),
    _fault("unit_converted", "analyst", _other_unit),
    _fault("columns_swapped", "analyst", before(WRITE, "out.columns = out.columns[::-1]")),
    _fault("wrong_inverse", "analyst", swap(("values = np.sinh(values)", "values = np.expm1(values)"))),
    _fault(
        "batch_repeated",
        "analyst",
        swap((PREDICT, "values = np.resize(model.predict(T.head(len(T) // 4)), len(T))")),
    ),
]
FAULTS = (*_ENGINEER, *_MODELER, *_ANALYST)

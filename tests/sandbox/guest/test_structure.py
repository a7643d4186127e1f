"""What the structure of a model tells the probe: whether it can predict, and from what."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy
import pandas
import pytest
from sklearn.calibration import CalibratedClassifierCV  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor  # type: ignore[import-untyped]
from sklearn.decomposition import PCA  # type: ignore[import-untyped]
from sklearn.dummy import DummyClassifier, DummyRegressor  # type: ignore[import-untyped]
from sklearn.ensemble import (  # type: ignore[import-untyped]
    BaggingRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.frozen import FrozenEstimator  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge  # type: ignore[import-untyped]
from sklearn.model_selection import GridSearchCV  # type: ignore[import-untyped]
from sklearn.multioutput import MultiOutputRegressor  # type: ignore[import-untyped]
from sklearn.naive_bayes import GaussianNB  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsRegressor  # type: ignore[import-untyped]
from sklearn.neural_network import MLPRegressor  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline, make_union  # type: ignore[import-untyped]
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler  # type: ignore[import-untyped]
from sklearn.svm import SVC, SVR  # type: ignore[import-untyped]
from sklearn.tree import DecisionTreeRegressor  # type: ignore[import-untyped]

from sandbox.guest import probe

RNG = numpy.random.default_rng(0)
X = pandas.DataFrame(RNG.random((60, 3)), columns=["a", "b", "c"])
Y = X @ numpy.array([1.0, 2.0, 3.0])
CLASSES = (X["a"] > 0.5).astype(int)
BOTH = numpy.c_[Y, Y]


def with_state(model: Any, **state: Any) -> Any:
    vars(model).update(state)
    return model


def without(model: Any, name: str) -> Any:
    vars(model).pop(name)
    return model


def half(pipeline: Any) -> Any:
    """Fits only the last step, which is easily forgotten of the others."""
    pipeline[-1].fit(X.to_numpy(), Y)
    return pipeline


def swapped(model: Any, name: str, part: Any) -> Any:
    setattr(model, name, part)
    return model


UNFITTED: dict[str, Callable[[], Any]] = {
    "plain": LinearRegression,
    "any attribute": lambda: with_state(LinearRegression(), junk_=1),
    "any attribute and columns": lambda: with_state(Ridge(), junk_=1, n_features_in_=3),
    "a number for weights": lambda: with_state(LinearRegression(), coef_=0, n_features_in_=3),
    "no weights": lambda: without(Ridge().fit(X, Y), "coef_"),
    "weights of other columns": lambda: with_state(Ridge().fit(X, Y), coef_=numpy.ones(7)),
    "weights that are no numbers": lambda: with_state(Ridge().fit(X, Y), coef_=numpy.full(3, numpy.nan)),
    "an infinite intercept": lambda: with_state(Ridge().fit(X, Y), intercept_=numpy.inf),
    "layers that are no numbers": lambda: with_state(
        model := MLPRegressor(hidden_layer_sizes=(2,), max_iter=2).fit(X, Y),
        coefs_=[each * numpy.nan for each in model.coefs_],
    ),
    "a forest without trees": lambda: with_state(RandomForestRegressor(), estimators_=[]),
    "a forest of seedlings": lambda: with_state(
        RandomForestRegressor(2).fit(X, Y), estimators_=[DecisionTreeRegressor()]
    ),
    "boosting of seedlings": lambda: with_state(
        GradientBoostingRegressor(n_estimators=2).fit(X, Y),
        estimators_=numpy.array([[DecisionTreeRegressor()]], dtype=object),
    ),
    "a scaler before it": lambda: half(make_pipeline(StandardScaler(), LinearRegression())),
    "an imputer before it": lambda: half(make_pipeline(SimpleImputer(), SVR())),
    "components before it": lambda: half(make_pipeline(PCA(), Ridge())),
    "a scaler with any attribute": lambda: half(
        make_pipeline(with_state(StandardScaler(), junk_=1), LinearRegression())
    ),
    "a union before it": lambda: half(make_pipeline(make_union(StandardScaler(), PCA()), Ridge())),
    "within a column transformer": lambda: swapped(
        model := make_pipeline(ColumnTransformer([("n", StandardScaler(), ["a", "b"])]), Ridge()).fit(X, Y),
        "steps",
        [
            (
                "c",
                with_state(model[0], transformers_=[("n", make_pipeline(StandardScaler()), ["a", "b"])]),
            ),
            model.steps[1],
        ],
    ),
    "a pipeline in a pipeline": lambda: half(make_pipeline(make_pipeline(StandardScaler()), Ridge())),
    "words": lambda: make_pipeline(TfidfVectorizer(), Ridge()).set_params(ridge=Ridge().fit(X, Y)),
    "a search": lambda: with_state(GridSearchCV(Ridge(), {}), best_estimator_=Ridge()),
    "a search of a pipeline": lambda: with_state(
        GridSearchCV(Ridge(), {}), best_estimator_=half(make_pipeline(StandardScaler(), Ridge()))
    ),
    "a stack": lambda: with_state(
        StackingRegressor([("r", Ridge())], cv=2).fit(X, Y), final_estimator_=Ridge()
    ),
    "a vote": lambda: with_state(VotingRegressor([("r", Ridge())]).fit(X, Y), estimators_=[Ridge()]),
    "a bag": lambda: with_state(BaggingRegressor(Ridge(), 2).fit(X, Y), estimators_=[Ridge(), Ridge()]),
    "a target": lambda: with_state(
        TransformedTargetRegressor(Ridge(), func=numpy.log1p, inverse_func=numpy.expm1).fit(X, Y),
        regressor_=Ridge(),
    ),
    "a calibration": lambda: _uncalibrated(),
    "a frozen model": lambda: make_pipeline(StandardScaler().fit(X), FrozenEstimator(Ridge())),
    "a classifier without classes": lambda: without(LogisticRegression().fit(X, CLASSES), "classes_"),
    "bayes without means": lambda: without(GaussianNB().fit(X, CLASSES), "theta_"),
    "a machine without vectors": lambda: without(SVC().fit(X, CLASSES), "support_vectors_"),
    "neighbours without targets": lambda: without(KNeighborsRegressor().fit(X, Y), "_y"),
}


def _uncalibrated() -> Any:
    model = CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, CLASSES)
    model.calibrated_classifiers_[0].estimator = LogisticRegression()
    return model


def read(tmp_path: Path, model: Any) -> dict[str, Any]:
    """Returns what the probe reports of a model that was saved."""
    joblib.dump(model, tmp_path / "model.pkl")
    return probe._facts(probe._File(str(tmp_path / "model.pkl")), "pickle", ())


@pytest.mark.parametrize("name", UNFITTED)
def test_a_model_of_which_a_part_cannot_predict_is_not_fitted(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = UNFITTED[name]()
        assert read(tmp_path, model)["fitted"] is False
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, or nothing that is a number
            assert numpy.isfinite(model.predict(X.to_numpy())).all()


FITTED: dict[str, Callable[[], Any]] = {
    "no columns selected": lambda: make_pipeline(
        ColumnTransformer([("n", StandardScaler(), ["a"]), ("w", OneHotEncoder(), [])]), Ridge()
    ).fit(X, Y),
    "passed through": lambda: make_pipeline(
        ColumnTransformer([("n", "passthrough", ["a"]), ("d", "drop", ["b"])], remainder=StandardScaler()),
        "passthrough",
        Ridge(),
    ).fit(X, Y),
    "functions": lambda: make_pipeline(FunctionTransformer(numpy.log1p), Ridge()).fit(X, Y),
    "a calibration": lambda: CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, CLASSES),
    "a frozen model": lambda: make_pipeline(StandardScaler(), FrozenEstimator(Ridge().fit(X, Y))).fit(X, Y),
    "a search over models": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge": [Ridge(), Lasso(0.01)]}, cv=2
    ).fit(X, Y),
    "a stack of pipelines": lambda: StackingRegressor(
        [("p", make_pipeline(StandardScaler(), Ridge())), ("d", "drop")], cv=2
    ).fit(X, Y),
    "sparse weights": lambda: LogisticRegression().fit(X, CLASSES).sparsify(),
    "lasso": lambda: Lasso(0.01).fit(X, Y),
    "a linear machine": lambda: SVC(kernel="linear").fit(X, CLASSES),
}


@pytest.mark.parametrize("name", FITTED)
def test_a_model_that_predicts_is_fitted(tmp_path: Path, name: str) -> None:
    model = FITTED[name]()
    model.predict(X)
    assert read(tmp_path, model)["fitted"] is True


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (lambda: Ridge().fit(X, Y), 1),
        (lambda: Ridge().fit(X, BOTH), 2),
        (lambda: make_pipeline(StandardScaler(), LinearRegression()).fit(X, BOTH), 2),
        (lambda: RandomForestRegressor(2).fit(X, BOTH), 2),
        (lambda: KNeighborsRegressor().fit(X, BOTH), 2),
        (lambda: MultiOutputRegressor(Ridge()).fit(X, BOTH), 2),
        (lambda: GridSearchCV(Ridge(), {}, cv=2).fit(X, BOTH), 2),
        (lambda: DummyClassifier().fit(X, numpy.c_[CLASSES, CLASSES]), 2),
        (lambda: LogisticRegression().fit(X, CLASSES), None),
    ],
)
def test_the_number_of_predicted_columns_is_known(tmp_path: Path, model: Any, wanted: int | None) -> None:
    assert read(tmp_path, model()).get("n_outputs") == wanted


def test_the_names_of_columns_that_a_model_insists_on_are_compared_with_a_table_s(tmp_path: Path) -> None:
    X.to_pickle(tmp_path / "X.pkl")
    table = probe._facts(probe._File(str(tmp_path / "X.pkl")), "pickle", ())["feature_names"]
    scaled = make_pipeline(StandardScaler(), Ridge())
    for fitted in (Ridge().fit(X, Y), scaled.fit(X, Y), GridSearchCV(scaled, {}, cv=2).fit(X, Y)):
        assert read(tmp_path, fitted)["feature_names"] == table
    for others in (X[["b", "a", "c"]], X.rename(columns={"a": "z"})):
        assert read(tmp_path, Ridge().fit(others, Y))["feature_names"] != table
    chosen = make_pipeline(ColumnTransformer([("n", StandardScaler(), ["a"])]), Ridge())
    for indifferent in (Ridge().fit(X.to_numpy(), Y), chosen.fit(X[["b", "a"]], Y)):
        assert "feature_names" not in read(tmp_path, indifferent)
    X.set_axis(range(3), axis=1).to_pickle(tmp_path / "X.pkl")
    assert "feature_names" not in probe._facts(probe._File(str(tmp_path / "X.pkl")), "pickle", ())


@pytest.mark.parametrize(
    ("model", "constant"),
    [
        (lambda: DummyRegressor().fit(X, Y), True),
        (lambda: make_pipeline(StandardScaler(), DummyClassifier()).fit(X, CLASSES), True),
        (lambda: DummyClassifier(strategy="stratified").fit(X, CLASSES), False),
        (lambda: Lasso(100).fit(X, Y), True),
        (lambda: Lasso(0.01).fit(X, Y), False),
        (lambda: DecisionTreeRegressor(min_samples_leaf=50).fit(X, Y), True),
        (lambda: RandomForestRegressor(3, min_samples_leaf=60).fit(X, Y), True),
        (lambda: RandomForestRegressor(3).fit(X, Y), False),
        (lambda: HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=50).fit(X, Y), True),
        (lambda: HistGradientBoostingRegressor(max_iter=2).fit(X, Y), False),
        (lambda: BaggingRegressor(Lasso(100), 2).fit(X, Y), True),
        (lambda: GridSearchCV(DummyRegressor(), {}, cv=2).fit(X, Y), True),
        (lambda: KNeighborsRegressor().fit(X, Y), False),
    ],
)
def test_a_model_that_predicts_the_same_for_every_row_is_known(
    tmp_path: Path, model: Any, constant: bool
) -> None:
    fitted = model()
    assert read(tmp_path, fitted).get("constant", False) is constant
    if constant:
        assert len(set(numpy.ravel(fitted.predict(X)))) == 1

"""Unusual work that is correct: no audit complains of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV  # type: ignore[import-untyped]
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # type: ignore[import-untyped]

from coaches.audits.guest import report
from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Tables
from tests.coaches.audits.artifacts import PROBA, REGRESSION, resubmitted, sound


def found(tables: Tables) -> list[Complaint]:
    return [one for group in report.AUDITS.values() for audit in group.values() for one in audit(tables)]


def prepared(tables: Tables, change: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]) -> Tables:
    """Returns the tables with other features, ``change(features, raw)``, and a model and a submission of
    them."""
    assert tables.features is not None
    assert tables.test_features is not None
    features, other = change(tables.features, tables.train), change(tables.test_features, tables.test)
    model = RandomForestRegressor(10, min_samples_leaf=2, random_state=0).fit(features, tables.target)
    fitted = replace(tables, features=features, test_features=other, model=model)
    return resubmitted(fitted, model.predict(other))


def target_encoded(features: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    train = sound().train
    return features.assign(town=raw["town"].map(train.groupby("town")["price"].mean()))


def encoded_out_of_fold(features: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    train = sound().train
    if "price" not in raw:
        return target_encoded(features, raw)
    half = np.arange(len(raw)) % 2 == 0
    codes = pd.Series(0.0, index=raw.index)
    for part in (half, ~half):
        codes[part] = raw["town"][part].map(train[~part].groupby("town")["price"].mean())
    return features.assign(town=codes)


def binned(features: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    edges = sound().train["size"].quantile(np.linspace(0.0, 1.0, 9)).to_numpy()
    return features.assign(size=np.searchsorted(edges[1:-1], raw["size"]).astype(float))


@pytest.mark.parametrize(
    "change",
    [
        lambda features, raw: features.drop(columns=["age", "town_Bee"]),
        target_encoded,
        encoded_out_of_fold,
        binned,
        lambda features, raw: features.assign(size=np.log1p(raw["size"]), both=raw["size"] * raw["age"]),
        lambda features, raw: features.assign(size=raw["size"].clip(20.0, 150.0), one=1.0),
        lambda features, raw: features.assign(count=raw["town"].map(sound().train["town"].value_counts())),
    ],
)
def test_features_that_were_prepared_in_one_way_for_both_tables(
    change: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame],
) -> None:
    assert found(prepared(sound(REGRESSION), change)) == []


def test_a_model_that_was_fitted_on_most_rows_after_a_split_of_its_own() -> None:
    tables = sound(REGRESSION)
    assert tables.features is not None
    assert tables.target is not None
    model = RandomForestRegressor(20, min_samples_leaf=2, random_state=0)
    model.fit(tables.features[:150], tables.target[:150])
    assert found(resubmitted(replace(tables, model=model), model.predict(tables.test_features))) == []


def test_a_model_that_was_fitted_again_on_all_rows_and_weighs_its_classes() -> None:
    tables = sound(PROBA)
    model = RandomForestClassifier(20, min_samples_leaf=2, class_weight="balanced", random_state=0)
    model.fit(tables.features, tables.target)
    values = model.predict_proba(tables.test_features)[:, 1]
    assert found(resubmitted(replace(tables, model=model), values)) == []


def test_probabilities_that_were_calibrated_in_the_model_or_after_it() -> None:
    tables = sound(PROBA)
    forest = RandomForestClassifier(5, min_samples_leaf=5, random_state=0)
    model = CalibratedClassifierCV(forest, cv=3).fit(tables.features, tables.target)
    values = model.predict_proba(tables.test_features)[:, 1]
    assert found(resubmitted(replace(tables, model=model), values)) == []
    assert tables.submission is not None
    squeezed = 1.0 / (1.0 + np.exp(-3.0 * (tables.submission["sold"] - 0.5)))
    assert found(resubmitted(tables, squeezed)) == []


def test_a_target_in_logarithms_that_is_inverted_in_the_submission() -> None:
    tables = sound(REGRESSION)
    assert tables.target is not None
    low = tables.target.min() - 1.0
    logs = np.log(tables.target - low)
    model = RandomForestRegressor(10, min_samples_leaf=2, random_state=0).fit(tables.features, logs)
    done = replace(tables, target=logs, model=model)
    assert found(resubmitted(done, np.exp(model.predict(tables.test_features)) + low)) == []

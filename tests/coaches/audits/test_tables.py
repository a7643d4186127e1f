"""Audits of features and targets: each on sound artifacts and on faulty ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from coaches.audits.guest import alignment, consistency, empty, leakage, relations
from coaches.audits.guest.tables import Tables
from tests.coaches.audits.artifacts import LABEL, PROBA, REGRESSION, complaints, sound


@pytest.mark.parametrize("facts", [REGRESSION, PROBA, LABEL])
def test_sound_tables_give_no_complaint(facts: dict[str, object]) -> None:
    for audit in (alignment.audit, consistency.audit, leakage.audit):
        assert complaints(audit, sound(facts)) == []


def test_rows_that_both_tables_moved_together_are_aligned() -> None:
    tables = sound()
    order = np.argsort(tables.train["size"].to_numpy())
    assert tables.features is not None
    assert tables.target is not None
    moved = replace(
        tables,
        features=tables.features.iloc[order].reset_index(drop=True),
        target=tables.target.iloc[order].reset_index(drop=True),
    )
    assert complaints(alignment.audit, moved) == []
    [(file, text)] = complaints(alignment.audit, replace(moved, target=tables.target))
    assert file == "X_train.pkl"
    assert "'size' has the values of train.csv in another order" in text
    [(file, text)] = complaints(alignment.audit, replace(moved, features=tables.features))
    assert file == "y_train.pkl"
    assert "in another order: 198 of 200 rows differ (rows 0, 1, 2)" in text


def test_a_shuffled_test_table_does_not_fit_the_ids() -> None:
    tables = sound()
    assert tables.test_features is not None
    shuffled = tables.test_features.sample(frac=1.0, random_state=0).reset_index(drop=True)
    files = [file for file, _ in complaints(alignment.audit, replace(tables, test_features=shuffled))]
    assert files == ["X_test.pkl"]


def test_a_target_may_be_a_function_of_the_target_and_nothing_else() -> None:
    tables = sound()
    assert tables.target is not None
    logs = np.log(tables.target.clip(lower=1.0) + np.arange(200) * 1e-9)
    assert complaints(alignment.audit, replace(tables, target=logs.rank())) == []
    [(file, text)] = complaints(alignment.audit, replace(tables, target=tables.train["age"]))
    assert (file, text) == ("y_train.pkl", "holds 'age' of train.csv instead of the target 'price'")
    noise = pd.Series(np.random.default_rng(0).normal(size=200))
    [(_, text)] = complaints(alignment.audit, replace(tables, target=noise))
    assert text.startswith("is no function of the target 'price': row 0 is '")


def test_merged_labels_are_named() -> None:
    tables = sound(LABEL)
    merged = replace(
        tables, train=tables.train.assign(sold=np.arange(200) % 3), target=pd.Series(np.arange(200) % 3 > 0)
    )
    [(_, text)] = complaints(alignment.audit, merged)
    assert text == "2 values, but 'sold' has 3: some were merged"


def changed(tables: Tables, **columns: object) -> Tables:
    assert tables.test_features is not None
    return replace(tables, test_features=tables.test_features.assign(**columns))  # type: ignore[arg-type]


def test_other_units_and_a_refitted_scaler_make_another_function() -> None:
    tables = sound()
    assert tables.test_features is not None
    size = tables.test_features["size"]
    for other in (size / 1000.0, (size - size.mean()) / size.std()):
        [(file, text)] = complaints(consistency.audit, changed(tables, size=other))
        assert file == "X_test.pkl"
        assert text.startswith(
            "'size' is another function of 'size' than in X_train.pkl: 90 of 90 rows differ; row 0"
        )


def test_groups_are_those_of_a_table_that_is_grouped() -> None:
    random = np.random.default_rng(0)
    for size in (1, 7, 300):
        codes = pd.factorize(random.integers(0, 9, size))[0]
        values = random.normal(size=size)
        slow = (
            pd.DataFrame({"code": codes, "value": values})
            .groupby("code")["value"]
            .agg(["min", "max", "mean"])
        )
        assert np.allclose(np.column_stack(relations.grouped(codes, values)), slow.to_numpy())


def test_a_monotone_feature_must_stay_between_its_neighbours() -> None:
    tables = sound()
    assert tables.features is not None
    assert tables.test_features is not None
    logs = replace(
        changed(tables, size=np.log(tables.test["size"])),
        features=tables.features.assign(size=np.log(tables.train["size"])),
    )
    assert complaints(consistency.audit, logs) == []
    assert len(complaints(consistency.audit, changed(logs, size=np.log10(tables.test["size"])))) == 1


def test_a_refitted_encoder_gives_the_same_text_another_code() -> None:
    tables = sound()
    codes = tables.test["town"].map({"Bee": 0.0, "Aa": 1.0, "Cele": 2.0})
    [(_, text)] = complaints(consistency.audit, changed(tables, town=codes))
    assert "'town' is another function of 'town' than in X_train.pkl" in text
    assert "'Aa' gives 1, and in X_train.pkl 0" in text or "'Bee' gives 0, and in X_train.pkl 1" in text


def test_filled_values_are_nobodys_function() -> None:
    tables = sound()
    train, test = tables.train.copy(), tables.test.copy()
    train.loc[::7, "size"] = np.nan
    test.loc[::5, "size"] = np.nan
    assert complaints(consistency.audit, replace(tables, train=train, test=test)) == []


def test_a_column_blanked_in_one_table_or_in_both() -> None:
    tables = sound()
    [(file, text)] = complaints(consistency.audit, changed(tables, size=0.0))
    assert (file, text[:33]) == ("X_test.pkl", "'size' is 0 in all 90 rows, and i")
    assert tables.features is not None
    both = replace(changed(tables, age=0.0), features=tables.features.assign(age=0.0))
    assert ("X_train.pkl", "'age': constant in both tables, although the raw column varies") in complaints(
        consistency.audit, both
    )


def test_a_rare_category_may_be_absent_by_chance() -> None:
    tables = sound()
    assert tables.features is not None
    rare = np.zeros(200)
    rare[:3] = 1.0
    seen = replace(changed(tables, town_Rare=0.0), features=tables.features.assign(town_Rare=rare))
    assert complaints(consistency.audit, seen) == []


@pytest.mark.parametrize("facts", [REGRESSION, LABEL])
def test_a_feature_that_is_the_target_its_rank_or_its_lookup_leaks(facts: dict[str, object]) -> None:
    tables = sound(facts)
    assert tables.features is not None
    assert tables.target is not None
    leak = tables.target.rank(method="dense")
    for values in (tables.target, leak, -leak):
        [(file, text)] = complaints(
            leakage.audit, replace(tables, features=tables.features.assign(level=values.astype(float)))
        )
        assert file == "X_train.pkl"
        assert text.startswith("'level' gives the target")


def test_a_raw_column_that_gives_the_target_away_in_both_tables_is_the_tasks() -> None:
    tables = sound()
    assert tables.features is not None
    given = replace(
        tables,
        train=tables.train.assign(tax=tables.train["price"] / 10.0),
        test=tables.test.assign(tax=np.arange(90.0)),
        features=tables.features.assign(tax=tables.train["price"] / 10.0),
    )
    assert complaints(leakage.audit, given) == []
    assert len(complaints(leakage.audit, replace(given, test=tables.test))) == 1


def test_rows_that_were_dropped_and_others_put_in_their_place() -> None:
    tables = sound()
    assert tables.features is not None
    assert tables.test_features is not None
    twice = tables.features.take([*range(120), *range(80)]).reset_index(drop=True)
    [(file, text)] = complaints(alignment.audit, replace(tables, features=twice))
    assert file == "X_train.pkl"
    assert text.startswith("'size' has in 80 of 200 rows (rows 120, 121, 122) the values of other rows")
    test = tables.test_features.take([*range(60), *range(30)]).reset_index(drop=True)
    assert [file for file, _ in complaints(alignment.audit, replace(tables, test_features=test))] == [
        "X_test.pkl"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda size: size.clip(*size.quantile([0.05, 0.95])),
        lambda size: size.where(size < 120.0, size.median()),
        lambda size: size.rank(),
        lambda size: pd.cut(size, 12, labels=False).astype(float),
        lambda size: np.log1p(size - size.min()),
        lambda size: size.rolling(3, min_periods=1).mean(),
        lambda size: size.round(-1),
    ],
)
def test_a_column_that_was_prepared_has_its_own_rows(change: Any) -> None:
    tables = sound()
    assert tables.features is not None
    features = tables.features.assign(size=change(tables.features["size"]))
    assert complaints(alignment.audit, replace(tables, features=features)) == []


def test_a_clipped_target_is_a_function_of_the_target_and_a_halved_one_is_not() -> None:
    tables = sound()
    assert tables.target is not None
    clipped = tables.target.clip(*tables.target.quantile([0.02, 0.98]))
    assert complaints(alignment.audit, replace(tables, target=clipped)) == []
    assert complaints(alignment.audit, replace(tables, target=-clipped.rank())) == []
    halves = (tables.target > tables.target.median()).astype(float)
    assert len(complaints(alignment.audit, replace(tables, target=halves))) == 1


def test_features_that_hold_nothing() -> None:
    tables = sound()
    assert tables.features is not None
    assert complaints(empty.audit, tables) == []
    few = tables.features.assign(a=1.0)
    assert complaints(empty.audit, replace(tables, features=few)) == []
    half = tables.features.assign(a=1.0, b=np.nan, c=0.0, d=2.0)
    [doubt] = empty.audit(replace(tables, features=half))
    assert (doubt.strength, doubt.text[:14]) == ("doubt", "4 of 8 columns")
    [proof] = empty.audit(replace(tables, features=tables.features * np.nan))
    assert (proof.artifact, proof.strength) == ("X_train.pkl", "proof")

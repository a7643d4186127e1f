"""Sound tables, features, models and submissions, for tests to spoil."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # type: ignore[import-untyped]

from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Tables

REGRESSION = {
    "task_type": "regression", "prediction": "value", "id_column": "id", "target_columns": ["price"],
}  # fmt: skip
PROBA = REGRESSION | {"task_type": "classification", "prediction": "proba", "target_columns": ["sold"]}
LABEL = PROBA | {"prediction": "label"}


def raw(rows: int, seed: int) -> pd.DataFrame:
    """Returns a table with a price that follows from size and town, and whether it was sold."""
    random = np.random.default_rng(seed)
    size, age = random.gamma(4.0, 20.0, rows).round(2), random.integers(0, 60, rows)
    town = random.choice(["Aa", "Bee", "Cele"], rows, p=[0.5, 0.3, 0.2])
    price = 40.0 * size * (1.0 + 0.3 * (town == "Bee")) - 5.0 * age + random.normal(0.0, 30.0, rows)
    sold = (price + random.normal(0.0, 100.0, rows) > np.median(price)).astype(int)
    ids = random.permutation(10_000)[:rows]
    return pd.DataFrame({"id": ids, "size": size, "age": age, "town": town, "price": price, "sold": sold})


def features(table: pd.DataFrame) -> pd.DataFrame:
    codes = {"Aa": 0.0, "Bee": 1.0, "Cele": 2.0}
    made = pd.DataFrame({"size": (table["size"] - 80.0) / 40.0, "age": table["age"].astype(float)})
    made["town"] = table["town"].map(codes)
    made["town_Bee"] = (table["town"] == "Bee").astype(float)
    return made


def sound(facts: dict[str, Any] = REGRESSION) -> Tables:
    """Returns the tables of a sound episode of a task."""
    [target] = facts["target_columns"]
    train, test = raw(200, 1), raw(90, 2).drop(columns=["price", "sold"])
    train = train[["id", "size", "age", "town", target]]
    frame, other = features(train), features(test)
    kind = RandomForestRegressor if target == "price" else RandomForestClassifier
    model = kind(n_estimators=10, min_samples_leaf=2, random_state=0).fit(frame, train[target])
    proba = facts["prediction"] == "proba"
    values = model.predict_proba(other)[:, 1] if proba else model.predict(other)
    submission = pd.DataFrame({"id": test["id"], target: values})
    return Tables(train, test, frame, train[target], other, submission, None, model, facts)


def complaints(audit: Callable[[Tables], Iterator[Complaint]], tables: Tables) -> list[tuple[str, str]]:
    """Returns what an audit says, as (artifact, text)."""
    return [(one.artifact, one.text) for one in audit(tables)]


def resubmitted(tables: Tables, values: Any) -> Tables:
    """Returns the tables with other submitted values, in the order of test.csv."""
    assert tables.submission is not None
    name = tables.submission.columns[1]
    return replace(tables, submission=tables.submission.assign(**{name: values}))

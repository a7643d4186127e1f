"""The tables of one moment of an episode, as audits see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy
import pandas

MOST_COLUMNS = 2000


class LeftOutError(Exception):
    """An audit that takes its time for each column has not looked at all of them."""


@dataclass(frozen=True)
class Names:
    """Which file is what; "" for one that the team does not have."""

    train: str = "train.csv"
    test: str = "test.csv"
    sample: str = "sample_submission.csv"
    features: str = "X_train.pkl"
    target: str = "y_train.pkl"
    test_features: str = "X_test.pkl"
    model: str = "model.pkl"
    submission: str = "submission.csv"


@dataclass(frozen=True)
class Tables:
    """Everything that could be read; None where a file is missing or no such thing."""

    train: pandas.DataFrame
    """As the task gave it, with the target."""
    test: pandas.DataFrame
    features: pandas.DataFrame | None = None
    target: pandas.Series | None = None
    test_features: pandas.DataFrame | None = None
    submission: pandas.DataFrame | None = None
    sample: pandas.DataFrame | None = None
    model: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The task's public facts, and ``claims``: what agents said (``coaches.audits.claims``)."""
    names: Names = Names()

    @property
    def target_name(self) -> str:
        """The first target column; "" if the facts name none that train.csv has."""
        named = [name for name in self.facts.get("target_columns", ()) if name in self.train.columns]
        return str(named[0]) if len(named) == 1 else ""

    @property
    def is_regression(self) -> bool:
        return bool(self.facts.get("task_type") == "regression")

    @property
    def prediction(self) -> str:
        return str(self.facts.get("prediction", ""))

    def some_columns(self, frame: pandas.DataFrame) -> list[Any]:
        """Returns at most ``MOST_COLUMNS`` of a table's columns, those with the name of a raw one first."""
        raw = set(map(str, self.test.columns))
        return sorted(frame.columns, key=lambda name: str(name) not in raw)[:MOST_COLUMNS]

    def check_columns(self, frame: pandas.DataFrame | None) -> None:
        """Raises ``LeftOutError`` if ``some_columns`` are not all of them."""
        if frame is not None and frame.shape[1] > MOST_COLUMNS:
            raise LeftOutError(f"{frame.shape[1] - MOST_COLUMNS} of {frame.shape[1]} columns not examined")

    def raw_of(self, feature: Any) -> list[str]:
        """Returns the raw columns that a feature may come from, by its name: ``sex`` for ``sex_male``."""
        name = str(feature)
        known = [str(one) for one in self.test.columns if one in self.train.columns]
        if name in known:
            return [name]
        return sorted((one for one in known if len(one) > 1 and name.startswith(one)), key=len)[-1:]


def as_frame(value: Any) -> pandas.DataFrame | None:
    """Returns a table of features; None for anything else."""
    if isinstance(value, pandas.DataFrame):
        return value
    if isinstance(value, numpy.ndarray) and value.ndim == 2:
        return pandas.DataFrame(value, columns=[str(place) for place in range(value.shape[1])])
    return None


def as_series(value: Any) -> pandas.Series | None:
    """Returns a vector; None for anything else."""
    if isinstance(value, pandas.DataFrame) and value.shape[1] == 1:
        return value.iloc[:, 0]
    if isinstance(value, pandas.Series):
        return value
    if isinstance(value, list | numpy.ndarray) and numpy.asarray(value).ndim == 1:
        return pandas.Series(numpy.asarray(value))
    if isinstance(value, numpy.ndarray) and value.ndim == 2 and value.shape[1] == 1:
        return pandas.Series(value[:, 0])
    return None

"""What a stage must hand over, and what is known of it without ever unpickling on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["table", "vector", "estimator", "csv", "any"]


@dataclass(frozen=True)
class ArtifactSpec:
    """One file that an agent must hand over.

    ``ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True)``
    """

    name: str
    kind: Kind = "any"
    rows_of: str | None = None
    """A csv of the task whose data rows this one must match in number."""
    columns_of: str | None = None
    """Another artifact whose columns (names and order) this one must have."""
    numeric: bool = False
    """Every column must be numeric or boolean."""
    complete: bool = False
    """No missing and no infinite values."""


@dataclass(frozen=True)
class ArtifactCheck:
    """What was found of one artifact after one turn.

    ``ArtifactCheck("X_train.pkl", "nan", "12 of 900 rows hold missing values", {"rows": 900})``
    """

    name: str
    code: str
    """``ok``, or the first thing wrong: missing, empty, size, unreadable, kind, rows, columns, text, nan, …"""
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the probe read. Advisory: the file's writer could forge it, so it never decides an outcome."""

"""The programs that every method runs, and their expected output."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """A program and its expected output; a run with any other output is an error."""

    name: str
    code: str
    prints: str


_SNIPPET = """
import pandas as pd
from sklearn.linear_model import LinearRegression

frame = pd.DataFrame({"x": range(50), "y": [2 * x + 1 for x in range(50)]})
model = LinearRegression().fit(frame[["x"]], frame["y"])
print(round(float(model.predict(pd.DataFrame({"x": [100]}))[0]), 3))
"""
_FIT = """
import numpy as np
from sklearn.linear_model import LogisticRegression

X = np.random.default_rng(0).normal(size=(2000, 8))
model = LogisticRegression().fit(X, X[:, 0] + X[:, 1] > 0)
print(model.score(X, X[:, 0] + X[:, 1] > 0) > 0.95)
"""

PRINT = Workload("print", "print(1)", "1\n")
SNIPPET = Workload("snippet", _SNIPPET, "201.0\n")
FIT = Workload("fit", _FIT, "True\n")
WORKLOADS = (PRINT, SNIPPET, FIT)
"""``SNIPPET`` is the headline program: the imports of an agent's usual step, and little work."""

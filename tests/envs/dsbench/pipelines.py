"""A reference team for any bundled table, and a sandbox for programs of the tests."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path

from envs.types import Task
from sandbox.base import FileInfo, Result

ENGINEER = """
import pandas as pd
train, test, sample = (pd.read_csv(f"{name}.csv") for name in ("train", "test", "sample_submission"))
target = sample.columns[1]
y = train[target]
X, T = train.drop(columns=["id", target]), test.drop(columns="id")
for name in list(X):
    if pd.api.types.is_numeric_dtype(X[name]):
        continue
    if X[name].dropna().astype(str).str.match(r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}").all():
        for frame in (X, T):
            date = pd.to_datetime(frame.pop(name))
            frame[name + "_year"], frame[name + "_day"] = date.dt.year, date.dt.day_of_year
            frame[name + "_hour"] = date.dt.hour
numbers = X.select_dtypes("number").columns
X[numbers], T[numbers] = X[numbers].fillna(X[numbers].median()), T[numbers].fillna(X[numbers].median())
both = pd.get_dummies(pd.concat([X, T]), dtype=float)
X, T = both.iloc[: len(X)], both.iloc[len(X) :]
X.to_pickle("X_train.pkl")
y.to_pickle("y_train.pkl")
T.to_pickle("X_test.pkl")
"""

MODELER = """
import joblib, pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
X, y = pd.read_pickle("X_train.pkl"), pd.read_pickle("y_train.pkl")
model = {model}(n_estimators=60, min_samples_leaf=2, random_state=0)
joblib.dump(model.fit(X, y), "model.pkl")
"""

ANALYST = """
import joblib, pandas as pd
model, T = joblib.load("model.pkl"), pd.read_pickle("X_test.pkl")
out = pd.read_csv("test.csv")[["id"]]
out["{target}"] = {predict}
out.to_csv("submission.csv", index=False)
"""


def programs(task: Task) -> tuple[str, str, str]:
    """The programs of data engineer, modeler and analyst that solve ``task``."""
    facts = task.facts
    model = "RandomForestRegressor" if facts["task_type"] == "regression" else "RandomForestClassifier"
    predict = "model.predict_proba(T)[:, 1]" if facts["prediction"] == "proba" else "model.predict(T)"
    analyst = ANALYST.format(target=facts["target_columns"][0], predict=predict)
    return ENGINEER, MODELER.format(model=model), analyst


class FolderSandbox:
    """Runs programs in this process, in a folder: fast and without isolation."""

    def __init__(self, root: Path, task: Task) -> None:
        self.root = root
        for name, path in task.files.items():
            self.write(name, path.read_bytes())

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        out = io.StringIO()
        with contextlib.chdir(self.root), contextlib.redirect_stdout(out):
            try:
                exec(compile(code, "program", "exec"), {"__name__": "__main__"})
            except SystemExit as ended:
                return Result("error", int(ended.code or 0), out.getvalue(), "", False, 0.0, 0.0)
            except Exception as error:
                return Result(
                    "error", 1, out.getvalue(), f"{type(error).__name__}: {error}\n", False, 0.0, 0.0
                )
        return Result("ok", 0, out.getvalue(), "", False, 0.0, 0.0)

    def end_session(self, session: str) -> None: ...

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        (self.root / path).write_bytes(data)

    def list(self) -> tuple[FileInfo, ...]:
        return tuple(
            FileInfo(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(self.root.iterdir())
        )

    def close(self) -> None:
        pass

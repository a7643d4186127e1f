"""What the audits make of strange files: each is examined, or what could not be is said by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import FunctionTransformer  # type: ignore[import-untyped]

from coaches.audits import heard
from coaches.audits.guest import alignment, plain, report
from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Names, Tables
from sandbox.host.libraries import packages
from tests.coaches.audits.artifacts import REGRESSION, sound
from tests.coaches.turns import ran

NAMES = Names(sample="")
PACKAGES = sorted(packages(()))


@pytest.fixture
def audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Returns the complaints and what was missed, once some of a sound episode's files are others."""

    def run(facts: Mapping[str, Any] = REGRESSION, **others: Any) -> tuple[list[Complaint], list[str]]:
        tables = sound()
        pickles = {
            "X_train": tables.features, "y_train": tables.target, "X_test": tables.test_features,
            "model": tables.model,
        } | {key: value for key, value in others.items() if not isinstance(value, bytes)}  # fmt: skip
        for name, value in pickles.items():
            joblib.dump(value, tmp_path / f"{name}.pkl")
        for name, table in (
            ("train", tables.train),
            ("test", tables.test),
            ("submission", tables.submission),
        ):
            assert table is not None
            table.to_csv(tmp_path / f"{name}.csv", index=False)
        for name, value in others.items():
            if isinstance(value, bytes):
                (tmp_path / f"{name}.{'csv' if name == 'submission' else 'pkl'}").write_bytes(value)
        paths = {path.name: str(path) for path in tmp_path.iterdir()}
        report.report(paths, asdict(NAMES), dict(facts), [*report.AUDITS], PACKAGES)
        return heard.read(ran(stdout=capsys.readouterr().out), NAMES, 20.0)

    return run


def test_sound_files_are_examined_in_full(audited: Callable[..., Any]) -> None:
    assert audited() == ([], [])


def test_an_audit_that_fails_is_missed_and_the_others_run(
    audited: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(tables: Tables) -> Any:
        yield Complaint(alignment.AUDIT, "X_train.pkl", "proof", f"{len(tables.train)} rows")
        raise KeyError("strange")

    monkeypatch.setitem(report.AUDITS["tables"], alignment.AUDIT, fails)
    leaky = sound().features.assign(level=sound().target)  # type: ignore[union-attr]
    complaints, missed = audited(X_train=leaky)
    assert [one.audit for one in complaints] == ["alignment", "leakage", "model"]
    assert missed[0] == "alignment: KeyError: 'strange'"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("X_train", b"no pickle", "X_train.pkl: "),
        ("X_train", {"a": 1}, "X_train.pkl: TypeError: dict is neither a table nor a vector"),
        ("y_train", np.zeros((2, 2, 2)), "y_train.pkl: TypeError: ndarray is neither"),
        ("X_test", FunctionTransformer(np.exp), "X_test.pkl: TypeError: FunctionTransformer is neither"),
        ("model", b"\x80\x04cposix\nsystem\n.", "model.pkl: ForeignError: posix.system"),
        ("submission", b"\xff\xfe\x00", "submission.csv: "),
        ("submission", b"", "submission.csv: EmptyDataError"),
    ],
)
def test_a_file_that_cannot_be_read_is_missed_by_name(
    audited: Callable[..., Any], name: str, content: Any, text: str
) -> None:
    _, missed = audited(**{name: content})
    assert [line for line in missed if line.startswith(text)], missed


def test_a_model_without_probabilities_leaves_the_submission_unexamined_and_says_so(
    audited: Callable[..., Any],
) -> None:
    _, missed = audited(REGRESSION | {"prediction": "proba"})
    assert missed == [
        "submission: PredictionError: predict_proba: AttributeError: 'RandomForestRegressor' object has no "
        "attribute 'predict_proba'"[: len("submission: ") + 120]
    ]


def leaky(change: Callable[[pd.DataFrame, pd.Series], pd.DataFrame]) -> pd.DataFrame:
    tables = sound()
    assert tables.features is not None
    assert tables.target is not None
    return change(tables.features, tables.target)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame, target: pd.concat([frame, target.rename("size")], axis=1),
        lambda frame, target: frame.assign(level=target.astype(object)),
        lambda frame, target: frame.assign(level=target.astype("Float64")),
        lambda frame, target: frame.assign(level=pd.Categorical(target)),
        lambda frame, target: frame.assign(level=target.where(target.index != 3)),
        lambda frame, target: frame.assign(level=target.where(target.index != 3, np.inf)),
        lambda frame, target: frame.assign(level=target).set_axis([*"abcd", ("x", 1)], axis=1),
        lambda frame, target: frame.assign(level=target).set_axis([7] * 5, axis=1),
        lambda frame, target: frame.assign(level=target).set_index(pd.Index(range(5, 205))),
        lambda frame, target: frame.assign(level=np.exp(np.exp((target - target.min()) / 2500.0))),
    ],
)
def test_no_type_name_or_gap_hides_a_leak(audited: Callable[..., Any], change: Any) -> None:
    complaints, _ = audited(X_train=leaky(change))
    assert ("leakage", "X_train.pkl") in {(one.audit, one.artifact) for one in complaints}


def test_plain_columns_are_floats_or_texts_with_names_of_their_own() -> None:
    table = pd.DataFrame([[1, "a", None, 2.0, pd.Timestamp(0)], [True, "b", 1, np.inf, pd.NaT]])
    made = plain.frame(table.set_axis(["x", "x", 3, "x (2)", "x"], axis=1))
    assert list(made.columns) == ["x", "x (2)", "3", "x (2) (2)", "x (3)"]
    assert [kind.kind for kind in made.dtypes] == ["O", "O", "f", "f", "O"]
    assert made["x (2) (2)"].isna().tolist() == [False, True]
    assert json.dumps(made["x"].tolist()) == '["1", "True"]'


def test_a_table_of_numbers_is_plain_column_by_column() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [True, False], "c": [np.inf, 0.5]}, index=[7, 7])
    made = plain.frame(table.set_axis(["x", "x", 0], axis=1))
    assert list(made.columns) == ["x", "x (2)", "0"]
    for place in range(3):
        assert made.iloc[:, place].equals(plain.series(table.iloc[:, place]))
    assert plain.frame(pd.DataFrame(index=range(4))).shape == (4, 0)

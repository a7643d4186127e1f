"""The probe's unpickler: what libraries make is read as if it had been loaded, and nothing else is run."""

from __future__ import annotations

import datetime
import decimal
import importlib
import pickle
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy
import pandas
import pytest
import scipy.sparse  # type: ignore[import-untyped]
import scipy.stats  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier  # type: ignore[import-untyped]
from sklearn.feature_selection import SelectKBest, mutual_info_classif  # type: ignore[import-untyped]
from sklearn.frozen import FrozenEstimator  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.linear_model import LinearRegression, LogisticRegression  # type: ignore[import-untyped]
from sklearn.metrics import f1_score, make_scorer  # type: ignore[import-untyped]
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline, make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler  # type: ignore[import-untyped]
from sklearn.svm import SVC  # type: ignore[import-untyped]
from sklearn.utils._test_common.instance_generator import _construct_instances  # type: ignore[import-untyped]
from sklearn.utils.discovery import all_estimators  # type: ignore[import-untyped]

from sandbox.guest import probe
from sandbox.guest.unpickling import load

PROTOCOLS = (0, 2, 5)
ROWS = 6
RNG = numpy.random.default_rng(0)
X = RNG.random((40, 4)) + 0.1
CLASSES = (X[:, 0] > 0.6).astype(int)
VALUES = X @ [1.0, 2.0, 3.0, 4.0]
WORDS = ["a b", "b c", "c a b", "a"] * 10
TARGETS: tuple[tuple[Any, ...], ...] = (
    (X, CLASSES),
    (X, VALUES),
    (X, numpy.c_[CLASSES, 1 - CLASSES]),
    (X, numpy.c_[VALUES, VALUES]),
    (VALUES, CLASSES),
    (WORDS, CLASSES),
    ([{"a": 1.0}, {"b": 2.0}],),
    ([["a"], ["b"]],),
    (CLASSES,),
    (X @ X.T, CLASSES),
)
FRAME = pandas.DataFrame(
    {
        "int": range(ROWS),
        "float": numpy.linspace(0, 1, ROWS),
        "str": list("abcabc"),
        "bool": [True, False] * 3,
        "day": pandas.date_range("2020", periods=ROWS),
        "utc": pandas.date_range("2020", periods=ROWS, tz="UTC"),
        "berlin": pandas.date_range("2020", periods=ROWS, tz="Europe/Berlin"),
        "offset": pandas.date_range("2020", periods=ROWS, tz="+02:00"),
        "delta": pandas.to_timedelta(range(ROWS), "D"),
        "category": pandas.Categorical(list("abcabc")),
        "order": pandas.Categorical([3, 2, 1] * 2, ordered=True),
        "Int64": pandas.array([1, None] * 3, dtype="Int64"),
        "Float64": pandas.array([1.5, None] * 3, dtype="Float64"),
        "boolean": pandas.array([True, None] * 3, dtype="boolean"),
        "UInt8": pandas.array([1] * ROWS, dtype="UInt8"),
        "string": pandas.array(["a", None] * 3, dtype="string"),
        "period": pandas.period_range("2020", periods=ROWS, freq="M"),
        "interval": pandas.interval_range(0, ROWS),
        "sparse": pandas.arrays.SparseArray([0.0, 1.0] * 3),
        "objects": [pandas.Timestamp("2020"), pandas.Timedelta(1), pandas.NaT, pandas.NA, None, 1.5],
        "others": [
            pandas.Period("2020-01"),
            pandas.Interval(0, 1),
            datetime.date(2020, 1, 1),
            decimal.Decimal("1"),
            {1, 2},
            numpy.float32(1),
        ],
        "offsets": [
            pandas.offsets.Day(1),
            pandas.offsets.MonthEnd(),
            pandas.Timestamp("2020", tz="UTC"),
            b"x",
            1j,
            ...,
        ],
    }
)
DATA: dict[str, Any] = {
    "frame": FRAME,
    **{f"series {name}": FRAME[name] for name in FRAME},
    **{f"index {name}": FRAME.set_index(name) for name in FRAME.columns[:19]},
    "several levels": FRAME.set_index(["category", "day"]),
    "columns": FRAME[["int", "float"]].T,
    "groups": FRAME.groupby("category")["float"].mean(),
    "described": FRAME.describe(include="all"),
    "floats": numpy.eye(ROWS),
    "columns first": numpy.asfortranarray(numpy.eye(3)[:, :2]),
    "texts": numpy.array(["a", "b"]),
    "object array": numpy.array(["a", 1, None], dtype=object),
    "bytes": numpy.array([b"a"]),
    "structured": numpy.array([(1, 2.0)], [("x", int), ("y", float)]),
    "nested": numpy.array([((1, 2.0), 3)], [("a", "i4,f8"), ("b", "i2")]),
    "aligned": numpy.array([(1, 2.0)], numpy.dtype("i1,f8", align=True)),
    "days": numpy.array(["2020"], "M8[ns]"),
    "times": numpy.array([1], "m8[s]"),
    "complex": numpy.array([1j]),
    "half": numpy.ones(2, "f2"),
    "void": numpy.zeros(2, "V3"),
    "big endian": numpy.arange(3).astype(">i4"),
    "matrix": numpy.asmatrix(numpy.eye(2)),
    "records": numpy.rec.array([(1, 2)]),
    "masked": numpy.ma.masked_invalid([1.0, numpy.nan]),  # type: ignore[no-untyped-call]
    "strings": numpy.array(["a"], numpy.dtypes.StringDType()),
    "list": [1, 2.5, None],
    "rows": [[1, 2], [3, 4]],
    "tuple": (numpy.float64(1), numpy.str_("a")),
    **{
        f"{form}_{kind}": getattr(scipy.sparse, f"{form}_{kind}")(numpy.eye(4))
        for form in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")
        for kind in ("matrix", "array")
    },
}
SEARCH = {
    "C": scipy.stats.loguniform(1e-3, 10),
    "degree": scipy.stats.randint(1, 4),
    "coef0": scipy.stats.uniform(0, 1),
}
MODELS: dict[str, Callable[[], Any]] = {
    "table": lambda: Pipeline(
        [
            (
                "columns",
                ColumnTransformer(
                    [
                        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["int", "float"]),
                        ("words", OneHotEncoder(handle_unknown="ignore"), ["str", "category"]),
                    ]
                ),
            ),
            ("forest", RandomForestClassifier(5, random_state=0)),
        ]
    ).fit(FRAME, FRAME["bool"]),
    "random search": lambda: RandomizedSearchCV(
        SVC(), SEARCH, n_iter=2, cv=KFold(2), scoring=make_scorer(f1_score)
    ).fit(X, CLASSES),
    "grid search": lambda: GridSearchCV(SVC(), {"C": [1, 2]}, cv=2, scoring="roc_auc").fit(X, CLASSES),
    "functions": lambda: make_pipeline(
        FunctionTransformer(numpy.log1p), SelectKBest(mutual_info_classif, k=2), SVC()
    ).fit(X, CLASSES),
    "target": lambda: TransformedTargetRegressor(
        LinearRegression(), func=numpy.log1p, inverse_func=numpy.expm1
    ).fit(X, VALUES),
    "two grids": lambda: GridSearchCV(SVC(), [{"C": [1, 2]}, {"kernel": ["rbf"], "degree": [2]}], cv=2).fit(
        X, CLASSES
    ),
    "selected columns": lambda: make_pipeline(
        ColumnTransformer([("numbers", StandardScaler(), make_column_selector(dtype_include=numpy.number))]),
        LogisticRegression(),
    ).fit(FRAME[["int", "float", "str"]], FRAME["bool"]),
    "random state": lambda: RandomForestClassifier(3, random_state=numpy.random.RandomState(0)).fit(
        X, CLASSES
    ),
    "neighbours": lambda: KNeighborsClassifier(algorithm="ball_tree").fit(X, CLASSES),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=3, early_stopping=True).fit(X, CLASSES),
    "memory": lambda: make_pipeline(StandardScaler(), LogisticRegression(), memory=joblib.Memory(None)).fit(
        X, CLASSES
    ),
    "unfitted": lambda: LogisticRegression(),
    "cut": lambda: make_pipeline(StandardScaler()),
}
SAMPLE = (
    "cluster.Birch",
    "ensemble.RandomForestRegressor",
    "ensemble.StackingClassifier",
    "gaussian_process.GaussianProcessClassifier",
    "isotonic.IsotonicRegression",
    "linear_model.LogisticRegression",
    "model_selection.TunedThresholdClassifierCV",
    "neighbors.KernelDensity",
    "neural_network.MLPClassifier",
    "preprocessing.SplineTransformer",
)


def facts(value: Any) -> Any:
    """Returns the probe's facts of an object that was never pickled."""
    return without_constant(probe._data(value) or probe._estimator(value))


def without_constant(found: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what is read in the pickle of a tree and not in the tree."""
    return {key: value for key, value in found.items() if key != "constant"}


def dumps(value: Any, protocol: int) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pickle.dumps(value, protocol)


@pytest.mark.parametrize("name", DATA)
def test_data_is_reported_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.pkl"
    for protocol in PROTOCOLS:
        path.write_bytes(dumps(DATA[name], protocol))
        assert probe._facts(probe._File(str(path)), "pickle", ()) == facts(DATA[name]), protocol
    if name not in ("masked", "matrix"):  # which joblib loads as other types
        joblib.dump(DATA[name], path)
        assert probe._facts(probe._File(str(path)), "pickle", ()) == facts(DATA[name]), "joblib"


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_reported_as_it_is(tmp_path: Path, name: str) -> None:
    path, model = tmp_path / "model.pkl", MODELS[name]()
    for protocol in PROTOCOLS:
        path.write_bytes(dumps(model, protocol))
        assert without_constant(probe._facts(probe._File(str(path)), "pickle", ())) == facts(model)
    joblib.dump({"model": [model], "threshold": 0.5}, path)
    assert probe._facts(probe._File(str(path)), "pickle", ())["type"] == "dict"


@pytest.mark.parametrize("compress", [("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3), 1, 9])
def test_joblib_compresses(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "model.pkl"
    for value in (MODELS["table"](), FRAME, numpy.eye(3), numpy.array(["a", None], dtype=object)):
        joblib.dump(value, path, compress=compress)
        assert probe._facts(probe._File(str(path)), "pickle", ()) == facts(value)


def test_arrays_that_are_mapped_into_memory_are_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    joblib.dump(X, tmp_path / "x")
    mapped = joblib.load(tmp_path / "x", mmap_mode="r")
    for protocol in PROTOCOLS:
        joblib.dump([mapped, RandomForestClassifier(2).fit(mapped, CLASSES)], path, protocol=protocol)
        array, model = load(path.read_bytes(), ())
        assert type(array) is numpy.ndarray
        assert (array == X).all()
        assert facts(model)["fitted"] is True
        path.write_bytes(pickle.dumps(mapped, protocol))
        assert (load(path.read_bytes(), ()) == X).all()


def test_containers_are_containers(tmp_path: Path) -> None:
    value = {
        "a": [1, (2.0, "x")],
        "b": {1, 2},
        "c": frozenset("ab"),
        "d": OrderedDict(a=1),
        "e": Counter("aab"),
        "f": deque([1]),
        "g": defaultdict(list, a=[1]),
        "h": slice(1, 2),
        "i": range(3),
        "j": bytearray(b"x"),
        "k": b"\xff",
        "l": 10**40,
        "m": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        "n": numpy.float64,
        "o": numpy.dtype(">f4"),
        "p": 1j,
    }
    for protocol in PROTOCOLS:
        (tmp_path / "x").write_bytes(dumps(value, protocol))
        assert load((tmp_path / "x").read_bytes(), ()) == value


def fitted(cls: Any) -> Iterator[Any]:
    """Yields instances of an estimator, fitted where one of our targets suits it."""
    if cls is FrozenEstimator:  # has no arguments here
        return
    for estimator in _construct_instances(cls):
        for target in TARGETS:
            try:
                yield estimator.fit(*target)
                break
            except (ValueError, TypeError, AttributeError, IndexError):
                continue
        else:
            yield estimator


def check_estimators(classes: Iterable[Any], path: Path) -> int:
    """Checks that every class is read as it is. Returns how many instances were fitted."""
    found = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cls in classes:
            for estimator in fitted(cls):
                wanted = facts(estimator)
                joblib.dump(estimator, path)
                assert without_constant(probe._facts(probe._File(str(path)), "pickle", ())) == wanted, (
                    estimator
                )
                path.write_bytes(pickle.dumps(estimator, 0))
                assert without_constant(probe._facts(probe._File(str(path)), "pickle", ())) == wanted, (
                    estimator
                )
                found += wanted.get("fitted", False)
    return found


def test_estimators_of_all_kinds_are_read(tmp_path: Path) -> None:
    parts = [name.split(".") for name in SAMPLE]
    classes = [getattr(importlib.import_module(f"sklearn.{module}"), name) for module, name in parts]
    assert check_estimators(classes, tmp_path / "model.pkl") >= len(SAMPLE)


@pytest.mark.slow
def test_every_estimator_of_scikit_learn_is_read(tmp_path: Path) -> None:
    assert check_estimators([cls for _, cls in all_estimators()], tmp_path / "model.pkl") > 190

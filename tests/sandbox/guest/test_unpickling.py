"""The probe's unpickler runs nothing that is foreign, and says what it is."""

from __future__ import annotations

import copyreg
import functools
import gzip
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy
import pandas
import pytest
import scipy.spatial  # type: ignore[import-untyped]
import scipy.stats  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LinearRegression  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import FunctionTransformer  # type: ignore[import-untyped]
from sklearn.svm import SVC  # type: ignore[import-untyped]

from sandbox.guest import probe
from sandbox.guest.unpickling import ForeignError, load

X = numpy.random.default_rng(0).random((40, 4))
CLASSES = (X[:, 0] > 0.6).astype(int)


class Own(BaseEstimator):  # type: ignore[misc]
    """An estimator that no library has."""


def own_function(value: Any) -> Any:
    return value


class Reduced:
    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


FOREIGN = {
    "own class": (Own(), f"{__name__}.Own"),
    "own class in a pipeline": (make_pipeline(Own(), SVC()), f"{__name__}.Own"),
    "own function": (FunctionTransformer(own_function), f"{__name__}.own_function"),
    "own class in a table": (pandas.DataFrame({"a": [Own()]}), f"{__name__}.Own"),
    "own class in an array": (numpy.array([Own()], dtype=object), f"{__name__}.Own"),
    "builtin": (FunctionTransformer(eval), "builtins.eval"),
    "a function of numpy": (FunctionTransformer(numpy.load), "numpy.load"),
    "a function of pandas": (FunctionTransformer(pandas.eval), "pandas.eval"),
    "a method": (FunctionTransformer(X.tofile), "builtins.getattr"),
    "a type": (Reduced(type, ("X", (numpy.ndarray,), {"shape": (9, 9)})), "builtins.type"),
    "a call of an estimator": (Reduced(LinearRegression, ()), "sklearn.linear_model._base.LinearRegression"),
    "a codec": (Reduced(__import__("_codecs").encode, ("x", "idna")), "_codecs.encode"),
    "an object made the old way": (Reduced(copyreg._reconstructor, (Own, object, None)), f"{__name__}.Own"),  # type: ignore[attr-defined]
    "a distribution's text": (
        Reduced(type(scipy.stats.uniform), (), {"_parse_arg_template": "1/0"}),
        "scipy.stats._continuous_distns.uniform_gen",
    ),
    "a distribution's text, in pairs": (
        Reduced(type(scipy.stats.uniform), (), [("_parse_arg_template", "1/0")]),
        "scipy.stats._continuous_distns.uniform_gen",
    ),
    "a class that is shared": (
        Reduced(numpy.dtype, ("V8",), (3, "|", None, None, None, 8, 1, 63)),
        "numpy.dtype",
    ),
    "an attribute of the language": (
        Reduced(object.__reduce_ex__, (LinearRegression(), 2)),
        "builtins.getattr",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_foreign_is_named_and_not_run(tmp_path: Path, name: str) -> None:
    value, wanted = FOREIGN[name]
    path = tmp_path / "x.pkl"
    for data in (pickle.dumps(value), gzip.compress(pickle.dumps(value))):
        path.write_bytes(data)
        with pytest.raises(ForeignError, match=rf"^{wanted}"):
            load(path.read_bytes(), ())
    joblib.dump([X, value], path, compress=1)
    with pytest.raises(ForeignError, match=rf"^{wanted}"):
        load(path.read_bytes(), ())


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"cbuiltins\ndict\n)R)R.", "dict"),  # calls an instance
        (b"cpandas\nDataFrame\n)RVa\nK\x01s.", "DataFrame"),  # sets a column
        (b"cpandas\nDataFrame\n)RVa\na.", "DataFrame"),
        (b"(cpandas\neval\nV1\no.", "pandas.eval"),
        (b"cpandas\nDataFrame\n}b.", "pandas.DataFrame"),
        (b"cnumpy\nlog1p\n)R.", "numpy.log1p"),
        (b"cnumpy\nndarray\n(K\x01\x85Vi8\nC\x0812345678tR.", "numpy.ndarray"),
        (b"cnumpy\nmemmap\n(Vx\nVu1\nVw+\nK\x00K\x01tR.", "numpy.memmap"),
        (b"\x80\x04cnumpy\nndarray\n)\x81.", "numpy.ndarray"),
        (
            b"cpandas.core.indexes.base\n_new_Index\n(cnumpy\nndarray\n}(Vshape\nK\x01Vdtype\nVO\nVbuffer\nC\x0812345678utR.",
            "pandas.core.indexes.base._new_Index",
        ),
        (b"ccopyreg\n_reconstructor\n(cnumpy\nndarray\ncbuiltins\nlist\n(ltR.", "numpy.ndarray"),
    ],
)
def test_instructions_that_no_pickler_writes_are_refused(tmp_path: Path, data: bytes, wanted: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ForeignError, match=wanted):
        load((tmp_path / "x").read_bytes(), ())


def test_a_class_or_a_function_is_no_model(tmp_path: Path) -> None:
    for value, kind in ((LinearRegression, "class"), (numpy.mean, "function"), (numpy.float64, "class")):
        joblib.dump(value, tmp_path / "x")
        assert probe._facts(probe._File(str(tmp_path / "x")), "pickle", ()) == {
            "type": kind,
            "has_predict": False,
        }


def test_a_shared_dtype_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Reduced(numpy.dtype, ("f8",), (3, ">", None, None, None, -1, -1, 0))))
    load(path.read_bytes(), ())
    assert numpy.dtype("f8").byteorder == "="
    assert numpy.frombuffer(numpy.float64(1.0).tobytes())[0] == 1.0


def test_estimators_of_an_added_library_are_known_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
import os
from sklearn.base import BaseEstimator, ClassifierMixin
class Model(ClassifierMixin, BaseEstimator):
    def fit(self, X, y): self.booster_ = Booster(); return self
    def predict(self, X): return X
class Booster:
    def __setstate__(self, state): os._exit(1)
    def __getstate__(self): return {"a": 1}
    def predict(self, X): return X
def function(): pass
"""
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import added  # type: ignore[import-not-found]

    path = tmp_path / "model.pkl"
    for value in (added.Model().fit(X, CLASSES), added.Booster()):
        joblib.dump(value, path)
        assert probe._facts(probe._File(str(path)), "pickle", ("added",))["has_predict"] is True
        joblib.dump(type(value), path)
        assert probe._facts(probe._File(str(path)), "pickle", ("added",)) == {
            "type": "class",
            "has_predict": False,
        }
        with pytest.raises(ForeignError, match=r"^added"):
            load(path.read_bytes(), ())
    path.write_bytes(pickle.dumps(Reduced(added.function, ())))
    with pytest.raises(ForeignError, match=r"added\.function"):
        load(path.read_bytes(), ("added",))


def test_the_unpickler_is_not_fooled_by_attributes_of_what_a_module_imported(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    for module, name in (
        ("sklearn.base", "warnings.warn"),
        ("sklearn.linear_model._base", "np.load"),
        ("sklearn.pipeline", "Pipeline.fit.__globals__"),
        ("scipy.special", "_ufuncs.np.load"),
        ("pandas.core.frame", "DataFrame.__init__"),
        ("numpy", "ndarray.tofile"),
        ("sklearn.utils", "parallel.Parallel"),
        ("sklearn.datasets", "fetch_openml"),
        ("sklearn.tests.test_base", "K"),
        ("numpy.random._pickle", "MT19937.__class__"),
    ):
        file = io.BytesIO(b"\x80\x04\x8c" + bytes([len(module)]) + module.encode())
        data = file.getvalue() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93)R."
        path.write_bytes(data)
        with pytest.raises(ForeignError):
            load(path.read_bytes(), ())
    assert "sklearn.tests.test_base" not in sys.modules


REFERRED = {
    "a conversion": lambda: FunctionTransformer(numpy.asarray),
    "a part of a function": lambda: FunctionTransformer(functools.partial(numpy.clip, a_min=0, a_max=1)),
    "a method of texts": lambda: CountVectorizer(tokenizer=str.split, preprocessor=str.lower),
    "a distance": lambda: KNeighborsClassifier(metric=scipy.spatial.distance.canberra),
}


@pytest.mark.parametrize("name", REFERRED)
def test_functions_that_hold_no_code_of_an_agent_may_be_referred_to(tmp_path: Path, name: str) -> None:
    model = make_pipeline(REFERRED[name](), SVC())
    for protocol in (0, 2, 5):
        (tmp_path / "x").write_bytes(pickle.dumps(model, protocol))
        assert probe._facts(probe._File(str(tmp_path / "x")), "pickle", ())["type"] == "Pipeline"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Reduced(functools.partial, (eval, "1")), "builtins.eval"),
        (Reduced(getattr, (str, "__class__")), "builtins.getattr of str.__class__"),
        (Reduced(getattr, (str, "nosuch")), "builtins.getattr of str.nosuch"),
        (Reduced(getattr, (int, "from_bytes")), "builtins.getattr of int.from_bytes"),
        (Reduced(str.split, ("a b",)), "builtins.str.split"),
        (Reduced(numpy.asarray, ([1],)), "numpy.asarray"),
        (Reduced(scipy.spatial.distance.canberra, ([1], [2])), r"scipy.spatial.distance.canberra"),
    ],
)
def test_what_may_be_referred_to_is_not_called(tmp_path: Path, value: Any, wanted: str) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps(value))
    with pytest.raises(ForeignError, match=wanted):
        load((tmp_path / "x").read_bytes(), ())


def test_files_of_other_formats_are_named(tmp_path: Path) -> None:
    pandas.DataFrame({"a": [1]}).to_pickle(tmp_path / "x.pkl", compression="zip")
    with pytest.raises(ValueError, match="ZIP archive"):
        load((tmp_path / "x.pkl").read_bytes(), ())
    with (tmp_path / "x.pkl").open("wb") as file:
        numpy.save(file, X)
    with pytest.raises(ValueError, match=r"name it \.npy"):
        load((tmp_path / "x.pkl").read_bytes(), ())

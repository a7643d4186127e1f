"""Runs inside a sandbox: reads artifacts there and only there, and prints a line of JSON for each. A guest
imports it before its programs start; to any other sandbox it is sent as text.

Nothing that an artifact names is run (``sandbox.guest.unpickling``), and no attribute of an object is
believed that its class does not define: facts of data come from its values, those of a model from its class,
from scikit-learn, and from its structure (``sandbox.guest.structure``). Cannot be told here: whether the
parts of a model fit together, which only a prediction shows."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from sandbox.guest.json_facts import json_facts
from sandbox.guest.structure import digest_of, facts_of
from sandbox.guest.unpickling import ForeignError, StandIn, load

MAX_COLUMNS, MAX_NAME = 2000, 120


class _File:
    """A file that is read once, so that its hash is that of what was looked at."""

    def __init__(self, name: str) -> None:
        self.name, self.sha256 = name, ""

    def read(self) -> bytes:
        with open(self.name, "rb") as file:
            data = file.read()
        self.sha256 = hashlib.sha256(data).hexdigest()
        return data


def report(formats: dict[str, str], counted: list[str], packages: list[str], limit: int) -> None:
    """Prints one line for each file of ``formats`` (name -> ``csv``, ``json``, ``npy`` or ``pickle``), then
    for each of ``counted``: ``{"name": …, "facts": …}`` of an artifact, and ``{"name": …, "rows": …}``, the
    number of data rows of a csv. Each has the ``sha256`` of what was read; "" if nothing could be.

    Column names are left out of a line that would have more than ``limit`` characters without its hash:
    ``size`` is how many.
    """
    for name, form in formats.items():
        file = _File(name)
        facts = _try(partial(_facts, form=form, packages=packages), file)
        size = len(json.dumps({"name": name, "facts": facts}))
        if size > limit:  # only the columns can be long
            facts.pop("columns", None)
        _print({"name": name, "facts": facts, "size": size, "sha256": file.sha256})
    for name in counted:
        file = _File(name)
        _print({"name": name, "rows": _try(_rows, file), "sha256": file.sha256})


def _print(line: dict[str, Any]) -> None:
    print("\n" + json.dumps(line), flush=True)


def _try(look: Callable[[_File], Any], file: _File) -> Any:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return look(file)
    except ForeignError as error:
        return {"foreign": str(error)[:MAX_NAME]}
    except BaseException as error:  # a damaged file may raise anything
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def _rows(file: _File) -> int:
    return len(_csv(file, usecols=[0], skip_blank_lines=False))


def _facts(file: _File, form: str, packages: Collection[str]) -> dict[str, Any]:
    if form == "json":
        facts = json_facts(file.read())
        return facts | _names(facts.pop("names")) if "names" in facts else facts
    if form == "csv":
        return _data(_csv(file)) or {}
    if form == "npy":
        return _data(_array(file)) or {}
    value = load(file.read(), packages)
    return _data(value) or _estimator(value)


def _csv(file: _File, **options: Any) -> Any:
    import pandas

    compression = pandas.io.common.infer_compression(file.name, "infer")  # type: ignore[attr-defined]
    return pandas.read_csv(io.BytesIO(file.read()), compression=compression, **options)


def _array(file: _File) -> Any:
    import numpy

    data = file.read()
    array = numpy.load(file.name, allow_pickle=False)  # from a file: it says more of one that was cut off
    if file.read() != data:
        raise ValueError("it changed while it was read")
    return array


def _data(value: Any) -> dict[str, Any] | None:
    """Returns facts of anything with rows: a frame, a series, an index, an array, a sparse matrix, a list.
    None for anything else."""
    import numpy
    import pandas

    kind = type(value)
    if kind is pandas.DataFrame:
        names = list(value.columns)
        series = [value.iloc[:, place] for place in range(value.shape[1])]
        are_texts = all(isinstance(name, str) for name in names)  # models compare no others
        compared = {"feature_names": digest_of(names)} if are_texts else {}
        return _table(kind, 2, value.shape[0], names, series) | compared
    if isinstance(value, pandas.Series | pandas.Index | pandas.api.extensions.ExtensionArray):
        return _table(kind, 1, len(value), [getattr(value, "name", None)], [value])
    if kind.__module__.startswith("scipy.sparse."):
        value = _sparse(value)
        stored = _table(kind, 2, len(value.data), ["data"], [value.data])
        width = value.shape[1]
        return stored | {"rows": value.shape[0], "n_columns": width} | _names(list(range(width)))
    if not isinstance(value, numpy.ndarray | list | tuple):
        return None
    array = numpy.asarray(value)
    if fields := array.dtype.names:
        return _table(kind, array.ndim + 1, len(array), list(fields), [array[name] for name in fields])
    if array.ndim not in (1, 2):
        return {"type": kind.__name__, "dimensions": array.ndim}
    columns = list(array.T) if array.ndim == 2 else [array]
    return _table(kind, array.ndim, len(array), list(range(len(columns))), columns)


def _table(kind: type, dimensions: int, rows: int, names: list[Any], columns: list[Any]) -> dict[str, Any]:
    """Returns facts from the values of all columns. Raises ``ValueError`` if they are not all as long as the
    table says."""
    import numpy
    import pandas

    text, infinite, missing = [], 0, 0
    incomplete = numpy.zeros(rows if columns else 0, dtype=bool)
    for name, column in zip(names, columns, strict=True):
        array = getattr(column, "array", column)
        is_plain = isinstance(array.dtype, numpy.dtype)
        array = numpy.asarray(array) if is_plain else array
        if isinstance(array, pandas.Categorical) and array.codes.max(initial=-1) >= len(array.categories):
            raise ValueError("a column has values of no category")
        if len(array) != rows:
            raise ValueError(f"a column has {len(array)} values, and the table {rows} rows")
        values = array if is_plain else numpy.asarray(array, dtype=object)
        empty = numpy.zeros(rows, bool) if array.dtype.kind == "V" else pandas.isna(values)
        missing += int(empty.sum())
        incomplete |= empty
        if not (
            pandas.api.types.is_numeric_dtype(array.dtype) or pandas.api.types.is_bool_dtype(array.dtype)
        ):
            text.append(name)
        elif pandas.api.types.is_float_dtype(array.dtype):
            infinite += int(numpy.isinf(values[~empty].astype(float)).sum())
    return {
        "type": kind.__name__,
        "dimensions": dimensions,
        "rows": rows,
        "n_columns": len(columns),
        **_names(names),
        "n_text": len(text),
        "text": [str(name)[:MAX_NAME] for name in text[:20]],
        "missing": missing,
        "missing_rows": int(incomplete.sum()),
        "infinite": infinite,
    }


def _names(names: list[Any]) -> dict[str, Any]:
    """Returns the columns' names, shortened, and a digest of the whole names in their order."""
    return {
        "columns": [str(name)[:MAX_NAME] for name in names[:MAX_COLUMNS]],
        "columns_sha256": digest_of(names),
    }


def _sparse(value: Any) -> Any:
    """Returns a sparse matrix in coordinates, all of which are within its shape. Raises ``ValueError``."""
    import scipy.sparse  # type: ignore[import-untyped]

    if value.format in ("csr", "csc", "bsr"):
        value = type(value)((value.data, value.indices, value.indptr), shape=value.shape)
        value.check_format(full_check=True)
    if value.format != "coo":
        value = value.tocoo()
    return scipy.sparse.coo_matrix((value.data, (value.row, value.col)), shape=value.shape)


def _estimator(value: Any) -> dict[str, Any]:
    """Returns facts of a model, according to scikit-learn; of a stand-in, those of its class."""
    source = value.origin if type(value) is StandIn else value
    cls = source if type(value) is StandIn else type(value)
    if isinstance(value, type) or (type(value) is StandIn and not value.made):
        return {"type": "class" if isinstance(source, type) else "function", "has_predict": False}
    facts: dict[str, Any] = {
        "type": str(getattr(cls, "__name__", cls))[:MAX_NAME],
        "has_fit": callable(getattr(source, "fit", None)),
        "has_predict": callable(getattr(source, "predict", None)),
        "has_proba": callable(getattr(source, "predict_proba", None)),
    }
    if type(value) is StandIn:
        kind = getattr(cls, "_estimator_type", None)
        return facts | {"is_classifier": kind == "classifier", "is_regressor": kind == "regressor"}
    with contextlib.suppress(Exception):
        from sklearn.base import is_classifier, is_regressor  # type: ignore[import-untyped]

        facts["is_classifier"], facts["is_regressor"] = bool(is_classifier(value)), bool(is_regressor(value))
    with contextlib.suppress(Exception):
        from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]
        from sklearn.utils.validation import check_is_fitted  # type: ignore[import-untyped]

        try:
            check_is_fitted(value)
            facts["fitted"] = True
        except NotFittedError:
            facts["fitted"] = False
    with contextlib.suppress(Exception):
        facts["n_features_in"] = int(value.n_features_in_)
    with contextlib.suppress(Exception):
        facts |= facts_of(value)
    return facts

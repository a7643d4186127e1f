"""Runs inside a sandbox, sent as text: reads artifacts, unpickling them there and only there, and prints
JSON.

The author of the artifacts can make it print anything. Its report is advisory, and never decides an
outcome."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import sys
from typing import Any

MAX_COLUMNS, MAX_NAME = 2000, 120


def report(names: list[str], counted: list[str], limit: int) -> None:
    """Prints one line: the facts of each file in ``names`` and the number of data rows of each csv in
    ``counted``."""
    here = os.getcwd()
    sys.path = [path for path in sys.path if path != here] + [here]  # files there must not shadow libraries
    facts: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for name in names:
            facts[name] = _try(_facts, name)
        for name in counted:
            rows[name] = _try(_rows, name)
    text = json.dumps({"facts": facts, "rows": rows})
    if len(text) > limit:  # only the columns can be long
        for item in facts.values():
            item.pop("columns", None)
        text = json.dumps({"facts": facts, "rows": rows})
    print("\n" + text)


def _try(look: Any, name: str) -> Any:
    try:
        return look(name)
    except BaseException as error:  # an artifact may raise anything, even ``SystemExit``
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _rows(name: str) -> int:
    import pandas

    return len(pandas.read_csv(name, usecols=[0], skip_blank_lines=False))


def _facts(name: str) -> dict[str, Any]:
    if name.endswith(".csv"):
        import pandas

        return _array(pandas.read_csv(name))
    value = _load(name)
    return _array(value) if _is_array(value) else _estimator(value)


def _load(name: str) -> Any:
    if name.endswith(".npy"):
        import numpy

        return numpy.load(name, allow_pickle=False)
    with open(name, "rb") as file:
        data = file.read()
    if data[:1] == b"\x80" and b"NumpyArrayWrapper" not in data:
        return pickle.loads(data)  # joblib reads these too, but in Python and not in C
    import joblib  # type: ignore[import-untyped]

    return joblib.load(name)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, list | tuple)


def _array(value: Any) -> dict[str, Any]:
    """Returns facts of anything with rows: a frame, a series, an array, a sparse matrix, a list."""
    import numpy
    import pandas

    facts: dict[str, Any] = {"type": type(value).__name__}
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        facts["dimensions"], facts["rows"], facts["n_columns"] = 2, value.shape[0], value.shape[1]
        value = pandas.DataFrame({"data": value.data})
    elif isinstance(value, pandas.DataFrame | pandas.Series):
        facts["dimensions"] = value.ndim
    else:
        value = numpy.asarray(value)
        facts["dimensions"] = value.ndim
        if value.ndim not in (1, 2):
            return facts
        value = pandas.DataFrame(value)
    frame = value.to_frame() if isinstance(value, pandas.Series) else value
    facts.setdefault("rows", frame.shape[0])
    facts.setdefault("n_columns", frame.shape[1])
    facts["columns"] = [str(name)[:MAX_NAME] for name in frame.columns[:MAX_COLUMNS]]
    text = [not _numeric(dtype) for dtype in frame.dtypes]
    facts["n_text"] = sum(text)
    facts["text"] = [str(name)[:MAX_NAME] for name, flag in zip(frame.columns, text, strict=True) if flag][
        :20
    ]
    missing = frame.isna().to_numpy()
    facts["missing"], facts["missing_rows"] = int(missing.sum()), int(missing.any(axis=1).sum())
    facts["infinite"] = int(numpy.isinf(frame.select_dtypes("float").to_numpy(dtype=float, na_value=0)).sum())
    return facts


def _numeric(dtype: Any) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(dtype) or is_bool_dtype(dtype))


def _estimator(value: Any) -> dict[str, Any]:
    """Returns facts of a model, according to scikit-learn."""
    facts: dict[str, Any] = {
        "type": type(value).__name__[:MAX_NAME],
        "has_fit": callable(getattr(value, "fit", None)),
        "has_predict": callable(getattr(value, "predict", None)),
        "has_proba": callable(getattr(value, "predict_proba", None)),
    }
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
    return facts

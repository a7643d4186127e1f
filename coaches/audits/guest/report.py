"""Runs inside a sandbox: reads the files of one moment, audits them, and prints one line of JSON for each
step that it begins, each complaint, and each step that failed. Pickles are first rebuilt without running
what they name (``sandbox.guest.unpickling``); a model is loaded in full only if nothing foreign is in it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas

from coaches.audits.guest import alignment, consistency, empty, leakage, models, plain, scales, submissions
from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Names, Tables, as_frame, as_series

AUDITS: Mapping[str, Mapping[str, Callable[[Tables], Iterator[Complaint]]]] = {
    "tables": {
        alignment.AUDIT: alignment.audit, consistency.AUDIT: consistency.audit, leakage.AUDIT: leakage.audit,
        empty.AUDIT: empty.audit,
    },
    "model": {models.AUDIT: models.audit},
    "submission": {submissions.AUDIT: submissions.audit},
}  # fmt: skip
"""What to run, by what changed."""
LOADING = "loading"
"""From here on a hostile model may print what it likes."""
UNANNOUNCED = "unannounced"
"""The target was put on another scale, and its maker does not say so: it may be complained of later on."""
END = "end"
"""The step after the last one: all of them were taken."""


def report(
    paths: Mapping[str, str],
    names: Mapping[str, str],
    facts: Mapping[str, Any],
    wanted: list[str],
    packages: list[str],
) -> None:
    """Prints complaints about the files at ``paths`` (name -> path); before it loads a model, ``LOADING``.

    ``names``: the fields of ``Names``. ``wanted``: keys of ``AUDITS``. A file that cannot be read and an
    audit that fails are said; the others run."""
    tables = _tables(paths, Names(**names), facts, packages)
    if tables is not None:
        if "tables" in wanted:
            even = replace(
                tables,
                features=_even(tables.names.features, tables.features),
                target=_taken(tables.names.target, plain.series, tables.target),
                test_features=_even(tables.names.test_features, tables.test_features),
            )
            _run("tables", even)
        if "model" in wanted or "submission" in wanted:
            _with_model(tables, paths, wanted, packages)
    _step(END)


def _with_model(tables: Tables, paths: Mapping[str, str], wanted: list[str], packages: list[str]) -> None:
    if _taken(UNANNOUNCED, scales.unannounced, tables):
        print(f'\n"{UNANNOUNCED}"', flush=True)
    print(f'\n"{LOADING}"', flush=True)
    tables = replace(tables, model=_model(tables.names.model, paths, packages))
    for group in ("model", "submission"):
        if group in wanted:
            _run(group, tables)


def _run(group: str, tables: Tables) -> None:
    """Prints each complaint as soon as it is there: what comes after it may not end."""
    out = sys.stdout
    for name, audit in AUDITS[group].items():
        _step(name)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                for complaint in audit(tables):
                    print("\n" + json.dumps(complaint._asdict()), file=out, flush=True)
        except Exception as error:  # of any kind: the file is of any kind
            _failed(name, error)


def _step(name: str) -> None:
    print("\n" + json.dumps({"step": name}), flush=True)


def _failed(name: str, error: Exception) -> None:
    text = f"{type(error).__name__}: {error}"
    print("\n" + json.dumps({"failed": name, "error": text[:200]}), flush=True)


def _taken(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the result of a step with a name; None if it failed, which is said."""
    _step(name)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return step(*arguments)
    except Exception as error:  # of any kind: the file is of any kind
        _failed(name, error)
    return None


def _even(name: str, frame: pandas.DataFrame | None) -> pandas.DataFrame | None:
    return None if frame is None else _taken(name, plain.frame, frame)


def _tables(
    paths: Mapping[str, str], names: Names, facts: Mapping[str, Any], packages: list[str]
) -> Tables | None:
    raw = {
        name: _taken(name, pandas.read_csv, paths[name])
        for name in (names.train, names.test, names.sample, names.submission) if name in paths
    }  # fmt: skip
    train, test = raw.get(names.train), raw.get(names.test)
    if train is None or test is None:
        return None

    def rebuilt(name: str, form: Callable[[Any], Any]) -> Any:
        return _taken(name, lambda: _formed(form, _data(paths[name], packages))) if name in paths else None

    return Tables(
        train, test, rebuilt(names.features, as_frame), rebuilt(names.target, as_series),
        rebuilt(names.test_features, as_frame), raw.get(names.submission), raw.get(names.sample),
        facts=facts, names=names,
    )  # fmt: skip


def _formed(form: Callable[[Any], Any], value: Any) -> Any:
    formed = form(value)
    if formed is None:
        raise TypeError(f"{type(value).__name__} is neither a table nor a vector")
    return formed


def _data(path: str, packages: list[str]) -> Any:
    from sandbox.guest.unpickling import load

    return load(Path(path).read_bytes(), packages)


def _model(name: str, paths: Mapping[str, str], packages: list[str]) -> Any:
    if name not in paths:
        return None
    import joblib  # type: ignore[import-untyped]

    def load() -> Any:
        _data(paths[name], packages)
        return joblib.load(paths[name])

    return _taken(name, load)

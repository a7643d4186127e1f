"""Runs inside a sandbox: reads the files of one moment, audits them, and prints one line of JSON for each
complaint. Pickles are first rebuilt without running what they name (``sandbox.guest.unpickling``); a model is
loaded in full only if that found nothing foreign in it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas

from coaches.audits.guest import alignment, consistency, leakage, models, submissions
from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Names, Tables, as_frame, as_series

AUDITS: Mapping[str, tuple[Callable[[Tables], Iterator[Complaint]], ...]] = {
    "tables": (alignment.audit, consistency.audit, leakage.audit),
    "model": (models.audit,),
    "submission": (submissions.audit,),
}
"""What to run, by what changed."""
LOADING = "loading"
"""From here on a hostile model may print what it likes."""


def report(
    paths: Mapping[str, str],
    names: Mapping[str, str],
    facts: Mapping[str, Any],
    wanted: list[str],
    packages: list[str],
) -> None:
    """Prints complaints about the files at ``paths`` (name -> path); before it loads a model, ``LOADING``.

    ``names``: the fields of ``Names``. ``wanted``: keys of ``AUDITS``. A file that cannot be read is left
    out: that is for its check to say."""
    tables = _tables(paths, Names(**names), facts)
    if tables is None:
        return
    tables = _pickles(tables, paths, packages)
    if "tables" in wanted:
        _run("tables", tables)
    if "model" in wanted or "submission" in wanted:
        print(f'\n"{LOADING}"', flush=True)
        tables = replace(tables, model=_model(paths.get(tables.names.model), packages))
        for group in ("model", "submission"):
            if group in wanted:
                _run(group, tables)


def _run(group: str, tables: Tables) -> None:
    for audit in AUDITS[group]:
        for line in _tried(audit, tables):
            print("\n" + json.dumps(line), flush=True)


def _tried(audit: Callable[[Tables], Iterator[Complaint]], tables: Tables) -> list[dict[str, str]]:
    """An audit that fails on a strange file complains of nothing: its check says whether it can be used."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        return [complaint._asdict() for complaint in audit(tables)]
    return []


def _tables(paths: Mapping[str, str], names: Names, facts: Mapping[str, Any]) -> Tables | None:
    raw = {name: _csv(paths.get(name)) for name in (names.train, names.test, names.sample, names.submission)}
    train, test = raw[names.train], raw[names.test]
    if train is None or test is None:
        return None
    return Tables(
        train, test, submission=raw[names.submission], sample=raw[names.sample], facts=facts, names=names
    )


def _csv(path: str | None) -> pandas.DataFrame | None:
    if path is not None:
        with contextlib.suppress(Exception):
            return pandas.read_csv(path)
    return None


def _pickles(tables: Tables, paths: Mapping[str, str], packages: list[str]) -> Tables:
    names = tables.names
    return replace(
        tables,
        features=as_frame(_data(paths.get(names.features), packages)),
        target=as_series(_data(paths.get(names.target), packages)),
        test_features=as_frame(_data(paths.get(names.test_features), packages)),
    )


def _data(path: str | None, packages: list[str]) -> Any:
    from sandbox.guest.unpickling import load

    if path is not None:
        with contextlib.suppress(Exception):
            return load(Path(path).read_bytes(), packages)
    return None


def _model(path: str | None, packages: list[str]) -> Any:
    if path is None or _data(path, packages) is None:
        return None
    import joblib  # type: ignore[import-untyped]

    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        return joblib.load(path)
    return None

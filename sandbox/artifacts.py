"""Checks of the artifacts that a stage must hand over, without ever unpickling on the host.

A pickle is judged twice: by the names that it lists, here, and by a probe in the sandbox, which rebuilds data
and estimators of known libraries and runs nothing else that it names (``sandbox.guest.unpickling``). Checks
are for agents, coaches and people; outcomes come from graders that read plain data themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from sandbox.base import FileInfo, Sandbox
from sandbox.guest.names import kind_of
from sandbox.host import probing
from sandbox.host.known import known_of
from sandbox.host.libraries import packages as packages_of
from sandbox.host.pickles import UNKNOWN, pickle_globals

Kind = Literal["table", "vector", "estimator", "csv", "json", "any"]
_PICKLES = (".pkl", ".pickle", ".joblib")


@dataclass(frozen=True)
class ArtifactSpec:
    """One file that an agent must hand over.

    ``ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True)``
    """

    name: str
    kind: Kind = "any"
    """``csv`` and ``json`` are read as such, whatever the name; ``table`` and ``vector`` by the ending of the
    name, ``.csv``, ``.json`` or ``.npy``, and otherwise as pickles; ``any`` is not opened."""
    rows: int | None = None
    """How many rows it must have: those of a table, entries of a vector or items of a JSON array."""
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
    """The result of checking one artifact after one turn.

    ``ArtifactCheck("X_train.pkl", "nan", "12 of 900 rows hold missing values", {"rows": 900})``
    """

    name: str
    code: str
    """``ok``, or the first thing wrong: missing, empty, size, foreign, unreadable, kind, rows, columns, text,
    nan. ``foreign``: a pickle that names anything but data and estimators of the sandbox's libraries."""
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the probe reported: for data ``rows, n_columns, columns, n_text, text, missing, infinite, …``; for
    a model ``fitted, is_classifier, is_regressor, has_predict, has_proba, n_features_in, n_outputs,
    constant``. ``feature_names`` of both: a digest of the columns' names, if all are texts."""
    imports: tuple[str, ...] = ()
    """What a pickle would import when loaded, determined by the host before anything loaded it (see
    ``sandbox.host.pickles``): ``("builtins.eval",)``. Empty for files of other kinds."""


def check_artifacts(
    specs: Sequence[ArtifactSpec],
    files: Mapping[str, FileInfo],
    sandbox: Sandbox,
    *,
    max_bytes: int = 16 << 20,
    timeout: float = 20.0,
    libraries: Sequence[str] = (),
    rows: Mapping[str, int] = MappingProxyType({}),
) -> tuple[ArtifactCheck, ...]:
    """Returns one check for each spec, in order, based on ``files`` and on a program run in ``sandbox``.

    ``rows``: file name -> the number of rows that it has in this task, of artifacts and of files that
    ``rows_of`` names. Where it is not known, the file that ``rows_of`` names is counted in the sandbox, as
    agents left it.

    A file that an earlier check in the same ``sandbox`` read, and whose hash in ``files`` is still the same,
    is not read again. An artifact larger than ``max_bytes`` is not opened: its code is ``size``. Reading ends
    after ``timeout`` seconds. Estimators may also come from ``libraries``, those of
    ``SandboxSpec.libraries``.

    Raises:
        SandboxError: the sandbox was lost.
    """
    packages = packages_of(libraries)
    refused = {
        spec.name: check for spec in specs if (check := _from_listing(spec, files, sandbox, max_bytes))
    }
    imports = {spec.name: _imports(spec, files, sandbox) for spec in specs if spec.name not in refused}
    for name, listed in imports.items():
        if foreign := [each for each in listed if each != UNKNOWN and not kind_of(each, packages)]:
            refused[name] = ArtifactCheck(name, "foreign", _foreign(foreign[0], libraries), imports=listed)
    probed = [spec for spec in specs if spec.name not in refused and spec.kind != "any"]
    facts: dict[str, dict[str, Any]] = {}
    if probed:
        formats = {spec.name: _format(spec.name, spec.kind) for spec in probed}
        for other in (spec.columns_of for spec in probed):
            if other is not None and other in files and other not in refused:
                formats.setdefault(other, _format(other))
        counted = [spec.rows_of for spec in probed if spec.rows_of in files and _rows(spec, rows) is None]
        facts, found = probing.inspect(
            formats, [name for name in dict.fromkeys(counted) if name], packages, files, sandbox, timeout
        )
        rows = {**found, **rows}
    return tuple(
        refused.get(spec.name) or replace(_check(spec, facts, rows, libraries), imports=imports[spec.name])
        for spec in specs
    )


def _rows(spec: ArtifactSpec, rows: Mapping[str, int]) -> int | None:
    """Returns how many rows an artifact must have, or None where that is not known."""
    return rows.get(spec.name, rows.get(spec.rows_of or "") if spec.rows is None else spec.rows)


def _format(name: str, kind: Kind = "any") -> str:
    """Returns how a file is read: ``csv``, ``json``, ``npy`` or ``pickle``."""
    if kind in ("csv", "json"):
        return kind
    return next((form for form in ("csv", "json", "npy") if name.endswith(f".{form}")), "pickle")


def _imports(spec: ArtifactSpec, files: Mapping[str, FileInfo], sandbox: Sandbox) -> tuple[str, ...]:
    """Returns the imports of a file that the probe, or a reader that trusts its name, would unpickle."""
    plain = spec.kind == "any" or _format(spec.name, spec.kind) != "pickle"
    if plain and not spec.name.endswith(_PICKLES):
        return ()
    known, sha256 = known_of(sandbox).imports, files[spec.name].sha256
    if sha256 in known:
        return known[sha256]
    try:
        data = sandbox.read(spec.name)
    except (FileNotFoundError, ValueError):  # the listing was wrong, or the file is too large to read
        return (UNKNOWN,)
    listed = pickle_globals(data)
    if sha256 == hashlib.sha256(data).hexdigest():
        known[sha256] = listed
    return listed


def _foreign(name: str, libraries: Sequence[str]) -> str:
    known = ", ".join(("numpy", "pandas", "scipy", "scikit-learn", *libraries))
    return (
        f"loading it would use {name}, which is not data or an estimator of {known}: save an object that "
        "consists of these alone, without classes, functions or lambdas of your own"
    )


def missing(name: str, sandbox: Sandbox) -> ArtifactCheck:
    """Returns the check of an artifact that is not among the sandbox's files: a folder or a link of this name
    is not listed, and is named.

    Raises:
        SandboxError: the sandbox was lost.
    """
    detail = f"there is no {name}"
    try:
        sandbox.read(name)
    except (FileNotFoundError, ValueError) as error:
        for what in ("folder", "link"):  # nothing else of what the sandbox says gets into a check
            if str(error).endswith(f" is a {what}, not a file"):
                detail = f"{name} is a {what}, not a file"
    return ArtifactCheck(name, "missing", detail)


def _from_listing(
    spec: ArtifactSpec, files: Mapping[str, FileInfo], sandbox: Sandbox, max_bytes: int
) -> ArtifactCheck | None:
    file = files.get(spec.name)
    if file is None:
        return missing(spec.name, sandbox)
    if file.size == 0:
        return ArtifactCheck(spec.name, "empty", "the file is empty")
    if file.size > max_bytes:
        return ArtifactCheck(spec.name, "size", f"too large: {file.size} bytes; at most {max_bytes} are read")
    return None


def _check(
    spec: ArtifactSpec,
    all_facts: Mapping[str, dict[str, Any]],
    rows: Mapping[str, int],
    libraries: Sequence[str],
) -> ArtifactCheck:
    facts = dict(all_facts.get(spec.name, {}))
    if "foreign" in facts:
        return ArtifactCheck(spec.name, "foreign", _foreign(facts["foreign"], libraries))
    if "error" in facts:
        return ArtifactCheck(spec.name, "unreadable", facts["error"])
    code, detail = _defect(spec, facts, all_facts.get(spec.columns_of or "", {}), _rows(spec, rows))
    facts.pop("columns_sha256", None)
    return ArtifactCheck(spec.name, code, detail, facts)


def _defect(
    spec: ArtifactSpec, facts: Mapping[str, Any], other: Mapping[str, Any], rows: int | None
) -> tuple[str, str]:
    """Returns the code and detail of the first defect of an artifact that could be read."""
    if mismatch := _wrong_kind(spec, facts):
        return "kind", mismatch
    if rows is not None and facts.get("rows") != rows:
        return "rows", _other_rows(spec, facts, rows)
    if spec.kind in ("table", "csv") and facts.get("n_columns") == 0:
        return "columns", "it has no columns"
    if "columns_sha256" in other and facts.get("columns_sha256") != other["columns_sha256"]:
        return "columns", _different(facts, other, str(spec.columns_of))
    if spec.numeric and facts.get("n_text"):
        return "text", f"{facts['n_text']} columns are not numeric: {', '.join(facts.get('text', [])[:5])}"
    if spec.complete and facts.get("missing"):
        return "nan", f"{facts.get('missing_rows')} of {facts.get('rows')} rows hold missing values"
    if spec.complete and facts.get("infinite"):
        return "nan", f"{facts['infinite']} values are infinite"
    return "ok", ""


def _other_rows(spec: ArtifactSpec, facts: Mapping[str, Any], rows: int) -> str:
    wanted = f"{spec.rows_of} has {rows}" if spec.rows_of else f"it must have {rows}"
    if "rows" not in facts:
        return f"it is {_with_article(str(facts.get('type')))} without rows, but {wanted}"
    return f"{facts['rows']} rows, but {wanted}"


def _with_article(word: str) -> str:
    return f"{'an' if word[:1] in 'aeio' else 'a'} {word}"


def _wrong_kind(spec: ArtifactSpec, facts: Mapping[str, Any]) -> str:
    actual = f"a {facts.get('type', 'thing')}"
    dimensions, columns = facts.get("dimensions"), facts.get("n_columns")
    if spec.kind == "estimator":
        return "" if facts.get("has_predict") else f"{actual} that cannot predict"
    if spec.kind == "vector":
        flat = dimensions == 1 or (dimensions == 2 and columns == 1)
        return (
            ""
            if flat
            else f"{actual} of {columns} columns, not one vector"
            if columns
            else f"{actual}, not a vector"
        )
    if spec.kind in ("table", "csv"):
        return "" if dimensions == 2 else f"{actual}, not a table"
    return ""


def _different(facts: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str:
    """Says how the columns differ, as far as the report has their names."""
    actual, wanted = facts.get("columns", []), other.get("columns", [])
    if actual == wanted or any(
        each.get("n_columns") != len(each.get("columns", [])) for each in (facts, other)
    ):
        return f"its columns are not those of {name}"  # too long or too many to be told apart here
    actual_set, wanted_set = set(actual), set(wanted)
    missing = [column for column in wanted if column not in actual_set]
    added = [column for column in actual if column not in wanted_set]
    if missing or added:
        some = ", ".join((missing + added)[:5])
        return f"{len(missing)} columns of {name} are missing, {len(added)} are new: {some}"
    return f"the columns of {name} in another order"

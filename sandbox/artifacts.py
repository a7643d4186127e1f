"""Checks of the artifacts that a stage must hand over, without ever unpickling on the host.

A pickle is judged twice: by the names that it lists, here, and by a probe in the sandbox, which rebuilds data
and estimators of known libraries and runs nothing else that it names (``sandbox.guest.unpickling``). Checks
are for agents, coaches and people; outcomes come from graders that read plain data themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sandbox.base import FileInfo, Sandbox
from sandbox.guest.names import kind_of
from sandbox.host import probing
from sandbox.host.libraries import packages as packages_of
from sandbox.host.pickles import UNKNOWN, pickle_globals

Kind = Literal["table", "vector", "estimator", "csv", "any"]


@dataclass(frozen=True)
class ArtifactSpec:
    """One file that an agent must hand over.

    ``ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True)``
    """

    name: str
    kind: Kind = "any"
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
    a model ``fitted, is_classifier, is_regressor, has_predict, has_proba, n_features_in``."""
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
) -> tuple[ArtifactCheck, ...]:
    """Returns one check for each spec, in order, based on ``files`` and on a program run in ``sandbox``.

    An artifact larger than ``max_bytes`` is not opened: its code is ``size``. Reading ends after ``timeout``
    seconds. Estimators may also come from ``libraries``, those of ``SandboxSpec.libraries``.

    Raises:
        SandboxError: the sandbox was lost.
    """
    packages = packages_of(libraries)
    refused = {spec.name: check for spec in specs if (check := _from_listing(spec, files, max_bytes))}
    imports = {spec.name: _imports(spec, sandbox) for spec in specs if spec.name not in refused}
    for name, listed in imports.items():
        if foreign := [each for each in listed if each != UNKNOWN and not kind_of(each, packages)]:
            refused[name] = ArtifactCheck(name, "foreign", _foreign(foreign[0], libraries), imports=listed)
    probed = [spec.name for spec in specs if spec.name not in refused and spec.kind != "any"]
    if probed:
        others = [s.columns_of for s in specs if s.columns_of and s.columns_of in files and s.name in probed]
        probed += [name for name in others if name not in refused]
        counted = [s.rows_of for s in specs if s.rows_of and s.rows_of in files and s.name in probed]
        facts, rows = probing.inspect(
            list(dict.fromkeys(probed)), list(dict.fromkeys(counted)), packages, sandbox, timeout
        )
    else:
        facts, rows = {}, {}
    return tuple(
        refused.get(spec.name) or replace(_check(spec, facts, rows, libraries), imports=imports[spec.name])
        for spec in specs
    )


def _imports(spec: ArtifactSpec, sandbox: Sandbox) -> tuple[str, ...]:
    """Returns the imports of a file that the probe, or a reader that trusts its name, would unpickle."""
    plain = spec.kind in ("csv", "any") or spec.name.endswith((".csv", ".npy"))
    if plain and not spec.name.endswith((".pkl", ".pickle", ".joblib")):
        return ()
    try:
        return pickle_globals(sandbox.read(spec.name))
    except (FileNotFoundError, ValueError):  # the listing was wrong, or the file is too large to read
        return (UNKNOWN,)


def _foreign(name: str, libraries: Sequence[str]) -> str:
    known = ", ".join(("numpy", "pandas", "scipy", "scikit-learn", *libraries))
    return (
        f"loading it would use {name}, which is not data or an estimator of {known}: save an object that "
        "consists of these alone, without classes, functions or lambdas of your own"
    )


def _from_listing(spec: ArtifactSpec, files: Mapping[str, FileInfo], max_bytes: int) -> ArtifactCheck | None:
    file = files.get(spec.name)
    if file is None:
        return ArtifactCheck(spec.name, "missing", f"there is no {spec.name}")
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
    code, detail = _defect(
        spec, facts, all_facts.get(spec.columns_of or "", {}), rows.get(spec.rows_of or "")
    )
    facts.pop("columns_sha256", None)
    return ArtifactCheck(spec.name, code, detail, facts)


def _defect(
    spec: ArtifactSpec, facts: Mapping[str, Any], other: Mapping[str, Any], rows: int | None
) -> tuple[str, str]:
    """Returns the code and detail of the first defect of an artifact that could be read."""
    if mismatch := _wrong_kind(spec, facts):
        return "kind", mismatch
    if rows is not None and "rows" in facts and facts["rows"] != rows:
        return "rows", f"{facts['rows']} rows, but {spec.rows_of} has {rows}"
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

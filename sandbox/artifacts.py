"""Checks of the artifacts that a stage must hand over, without ever unpickling on the host.

Everything here is advisory, for agents, coaches and people: the agent that is judged by an artifact wrote it,
and a pickle can make the probe report anything. Outcomes come from graders that read plain data
themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from conf.text import replace_unencodable
from sandbox.base import FileInfo, Sandbox
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
    """``ok``, or the first thing wrong: missing, empty, size, unreadable, kind, rows, columns, text, nan."""
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the probe reported: for data ``rows, n_columns, columns, n_text, text, missing, infinite, …``; for
    a model ``fitted, is_classifier, is_regressor, has_predict, has_proba, n_features_in``. Advisory, see
    above."""
    imports: tuple[str, ...] = ()
    """What a pickle would import when loaded, determined by the host before anything loaded it (see
    ``sandbox.host.pickles``): ``("builtins.eval",)``. Empty for files of other kinds."""


MAX_TEXT = 300
"""Most characters that are kept of an error or a column's name."""
_PROBE = Path(__file__).parent.joinpath("guest", "probe.py").read_text(encoding="utf-8")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "type": str, "error": str, "dimensions": int, "rows": int, "n_columns": int, "columns": list,
    "n_text": int, "text": list, "missing": int, "missing_rows": int, "infinite": int, "has_fit": bool,
    "has_predict": bool, "has_proba": bool, "is_classifier": bool, "is_regressor": bool, "fitted": bool,
    "n_features_in": int,
}  # fmt: skip


def check_artifacts(
    specs: Sequence[ArtifactSpec],
    files: Mapping[str, FileInfo],
    sandbox: Sandbox,
    *,
    max_bytes: int = 16 << 20,
    timeout: float = 20.0,
) -> tuple[ArtifactCheck, ...]:
    """Returns one check for each spec, in order, based on ``files`` and on one program run in ``sandbox``.

    An artifact larger than ``max_bytes`` is not opened: its code is ``size``. Probing ends after ``timeout``
    seconds.

    Raises:
        SandboxError: the sandbox was lost.
    """
    refused = {spec.name: check for spec in specs if (check := _from_listing(spec, files, max_bytes))}
    probed = [spec.name for spec in specs if spec.name not in refused and spec.kind != "any"]
    imports = {spec.name: _imports(spec, sandbox) for spec in specs if spec.name not in refused}
    if probed:
        probed += [s.columns_of for s in specs if s.columns_of and s.columns_of in files and s.name in probed]
        counted = [s.rows_of for s in specs if s.rows_of and s.rows_of in files and s.name in probed]
        facts, rows = _probe(list(dict.fromkeys(probed)), list(dict.fromkeys(counted)), sandbox, timeout)
    else:
        facts, rows = {}, {}
    return tuple(
        refused.get(spec.name) or replace(_check(spec, facts, rows), imports=imports[spec.name])
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


def _from_listing(spec: ArtifactSpec, files: Mapping[str, FileInfo], max_bytes: int) -> ArtifactCheck | None:
    file = files.get(spec.name)
    if file is None:
        return ArtifactCheck(spec.name, "missing", f"there is no {spec.name}")
    if file.size == 0:
        return ArtifactCheck(spec.name, "empty", "the file is empty")
    if file.size > max_bytes:
        return ArtifactCheck(spec.name, "size", f"{file.size} bytes are more than {max_bytes}")
    return None


def _probe(
    names: list[str], counted: list[str], sandbox: Sandbox, timeout: float
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Returns what the probe reported of each file and the rows of each csv, without whatever is invalid."""
    arguments = f"{json.dumps(names)}, {json.dumps(counted)}, {1 << 15}"
    result = sandbox.run(f"{_PROBE}\n\nreport({arguments})\n", timeout=timeout)
    try:
        report = json.loads(result.stdout.strip().rpartition("\n")[2])
        facts = {name: _valid(report["facts"][name]) for name in names}
        rows = {name: report["rows"][name] for name in counted if _is_count(report["rows"][name])}
    except (ValueError, KeyError, TypeError, RecursionError):
        reason = (
            "loading it ended the program"
            if result.status == "ok"
            else f"loading it ended in {result.status}"
        )
        return {name: {"error": reason} for name in names}, {}
    return facts, rows


def _valid(facts: object) -> dict[str, Any]:
    """Returns the facts with known names, after checking their types. Raises ``TypeError``."""
    if not isinstance(facts, dict):
        raise TypeError("facts are not an object")
    kept = {key: value for key, value in facts.items() if key in _KINDS}
    for key, value in kept.items():
        if type(value) is not _KINDS[key]:
            raise TypeError(f"{key} is a {type(value).__name__}")
        if type(value) is int and not _is_count(value):
            raise TypeError(f"{key} is not a count")
        if isinstance(value, str):
            kept[key] = _encodable(value)
        elif isinstance(value, list):
            kept[key] = [_encodable(item) for item in value]
    return kept


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _encodable(text: object) -> str:
    """Returns a shortened text that UTF-8 can encode: lone surrogates are replaced. Raises ``TypeError``."""
    if not isinstance(text, str):
        raise TypeError("not a text")
    return replace_unencodable(text[:MAX_TEXT])


def _check(
    spec: ArtifactSpec, all_facts: Mapping[str, dict[str, Any]], rows: Mapping[str, int]
) -> ArtifactCheck:
    facts = dict(all_facts.get(spec.name, {}))
    if "error" in facts:
        return ArtifactCheck(spec.name, "unreadable", facts["error"])
    code, detail = _defect(
        spec, facts, all_facts.get(spec.columns_of or "", {}), rows.get(spec.rows_of or "")
    )
    return ArtifactCheck(spec.name, code, detail, facts)


def _defect(
    spec: ArtifactSpec, facts: Mapping[str, Any], other: Mapping[str, Any], rows: int | None
) -> tuple[str, str]:
    """Returns the code and detail of the first defect of an artifact that could be read."""
    if mismatch := _wrong_kind(spec, facts):
        return "kind", mismatch
    if rows is not None and "rows" in facts and facts["rows"] != rows:
        return "rows", f"{facts['rows']} rows, but {spec.rows_of} has {rows}"
    if "columns" in other and facts.get("columns") != other["columns"]:
        return "columns", _different(facts.get("columns", []), other["columns"], str(spec.columns_of))
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


def _different(actual: list[str], wanted: list[str], name: str) -> str:
    actual_set, wanted_set = set(actual), set(wanted)
    missing = [column for column in wanted if column not in actual_set]
    added = [column for column in actual if column not in wanted_set]
    if missing or added:
        some = ", ".join((missing + added)[:5])
        return f"{len(missing)} columns of {name} are missing, {len(added)} are new: {some}"
    return f"the columns of {name} in another order"

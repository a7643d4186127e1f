"""The host's side of the probe of artifacts: composes its program, runs it in the sandbox, and reads its
report without trust."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conf.text import replace_unencodable
from sandbox.base import Result, Sandbox

MAX_TEXT = 300
"""Most characters that are kept of an error or a column's name."""
_GUEST = Path(__file__).parents[1] / "guest"
_SOURCES = [
    (f"sandbox.guest.{name}", (_GUEST / f"{name}.py").read_text("utf-8"))
    for name in ("names", "unpickling", "json_facts", "reads", "structure", "probe")
]
"""In dependency order: each after the modules that it imports."""
_PROGRAM = """
import posix, sys  # built in, as all must be that comes before the work folder leaves the path
def elsewhere(path):
    try:
        return posix.stat(path or ".")[:3] != posix.stat(".")[:3]
    except OSError:
        return True
before = sys.path[:]
sys.path[:] = filter(elsewhere, before)
try:
    for name, source in {sources!r}:
        if name not in sys.modules:
            sys.modules[name] = type(sys)(name)
            exec(compile(source, name, "exec"), sys.modules[name].__dict__)
    sys.modules["sandbox.guest.probe"].report({formats!r}, {counted!r}, {packages!r}, {limit})
finally:
    sys.path[:] = before
"""
_KINDS: Mapping[str, type] = {
    "type": str, "error": str, "foreign": str, "dimensions": int, "rows": int, "n_columns": int,
    "columns": list, "columns_sha256": str, "n_text": int, "text": list, "missing": int, "missing_rows": int,
    "infinite": int, "has_fit": bool, "has_predict": bool, "has_proba": bool, "is_classifier": bool,
    "is_regressor": bool, "fitted": bool, "n_features_in": int,
    "feature_names": str, "n_outputs": int, "constant": bool,
}  # fmt: skip


def inspect(
    formats: Mapping[str, str],
    counted: Sequence[str],
    packages: Sequence[str],
    sandbox: Sandbox,
    timeout: float,
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Returns what the probe reports of each artifact in ``formats`` (name -> format, as
    ``sandbox.guest.probe.report`` takes it), and the rows of each csv in ``counted`` that could be counted.

    One program reads them all. What it cannot read it reads again, in a program of its own, so that no
    artifact decides what is reported of another; each has ``timeout`` seconds."""
    facts, rows = _run(formats, counted, packages, sandbox, timeout)
    if len(formats) + len(counted) > 1:
        for name, form in formats.items():
            if "error" in facts[name]:
                facts.update(_run({name: form}, [], packages, sandbox, timeout)[0])
        if counted and not rows:
            rows = _run({}, counted, packages, sandbox, timeout)[1]
    return facts, rows


def _run(
    formats: Mapping[str, str],
    counted: Sequence[str],
    packages: Sequence[str],
    sandbox: Sandbox,
    timeout: float,
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    names = list(formats)
    limit = (1 << 15) // max(1, len(names)) if counted or len(names) > 1 else 1 << 12
    program = _PROGRAM.format(
        sources=_SOURCES, formats=dict(formats), counted=list(counted), packages=list(packages), limit=limit
    )
    result = sandbox.run(program, timeout=timeout)
    try:
        return _read(result, names, counted)
    except (ValueError, KeyError, TypeError, RecursionError):
        how = "the program" if result.status == "ok" else f"in {result.status}"
        return {name: {"error": f"loading it ended {how}"} for name in names}, {}


def _read(
    result: Result, names: Sequence[str], counted: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Reads a report, one line for each file in order. Raises one of several errors unless it is well formed
    and its program ended well."""
    if result.status != "ok":
        raise ValueError(result.status)
    texts = [line for line in result.stdout.splitlines() if line.startswith("{")]
    lines = [json.loads(text) for text in texts[: len(names) + len(counted) + 1]]
    if [line["name"] for line in lines] != [*names, *counted]:
        raise ValueError("other files")
    facts = {line["name"]: _valid(line["facts"]) for line in lines[: len(names)]}
    return facts, {line["name"]: line["rows"] for line in lines[len(names) :] if _is_count(line["rows"])}


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

"""The host's side of the probe of artifacts: composes its program, runs it in the sandbox, and reads its
report without trust. What is reported of a file is kept by its hash (``sandbox.host.known``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conf.text import replace_unencodable
from sandbox.base import FileInfo, Result, Sandbox
from sandbox.host.known import Key, Report, known_of

MAX_TEXT = 300
"""Most characters that are kept of an error or a column's name."""
_ALONE, _TOGETHER = 1 << 12, 1 << 15
"""Most characters of a line of the report: of one file; of several, in all."""
_ABSENT = 97
"""Exit code of a program that finds no probe."""
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
    if "sandbox.guest.probe" not in sys.modules:
        sys.exit({absent})
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


class _Answer(NamedTuple):
    """What a program said of files."""

    reports: Mapping[str, Report]
    rows: Mapping[str, Report]
    """Of each csv that could be counted: ``rows``."""
    status: str | None = None
    """How the program ended, if it said nothing that can be read."""


def inspect(
    formats: Mapping[str, str],
    counted: Sequence[str],
    packages: Sequence[str],
    files: Mapping[str, FileInfo],
    sandbox: Sandbox,
    timeout: float,
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Returns what the probe reports of each artifact in ``formats`` (name -> format, as
    ``sandbox.guest.probe.report`` takes it), and the rows of each csv in ``counted`` that could be counted.

    Those of ``files`` that are not known by their hashes are read by one program. What it cannot read is read
    again, in a program of its own, so that no artifact decides what is reported of another; each has
    ``timeout`` seconds. How much is told of columns does not depend on what was known."""
    known = known_of(sandbox)
    keys = {name: Key(files[name].sha256, name, form, tuple(packages)) for name, form in formats.items()}
    places = {name: Key(files[name].sha256, name, "rows") for name in counted}
    limit = _TOGETHER // max(1, len(formats)) if counted or len(formats) > 1 else _ALONE
    reports = {name: report for name, key in keys.items() if (report := known.report(key, limit))}
    rows = {name: report for name, key in places.items() if (report := known.report(key, limit))}
    unread = {name: form for name, form in formats.items() if name not in reports}
    uncounted = [name for name in counted if name not in rows]
    if unread or uncounted:
        answer = _Probe(packages, sandbox, timeout).read(unread, uncounted, limit)
        for name, report in answer.reports.items():
            known.keep(keys[name], report)
        for name, report in answer.rows.items():
            known.keep(places[name], report)
        if answer.status is not None:  # without what is known, every file would have been read alone
            reports = {name: report.within(min(limit, _ALONE)) or report for name, report in reports.items()}
        reports |= answer.reports
        rows |= answer.rows
    return {name: dict(reports[name].facts) for name in formats}, {
        name: report.facts["rows"] for name, report in rows.items()
    }


class _Probe:
    """The programs that read files in one sandbox."""

    def __init__(self, packages: Sequence[str], sandbox: Sandbox, timeout: float) -> None:
        self.packages, self.sandbox, self.timeout = packages, sandbox, timeout
        self.known = known_of(sandbox)

    def read(self, formats: Mapping[str, str], counted: Sequence[str], limit: int) -> _Answer:
        """Returns what one program says, and what others say of the files that it could not read."""
        answer = self._ask(formats, counted, limit)
        together = len(formats) + len(counted) > 1
        too_long = answer.status == "ok" and limit > _ALONE  # for what the sandbox keeps of an output
        if not together and not too_long:
            return answer
        reports, rows = dict(answer.reports), answer.rows
        for name, form in formats.items():
            if "error" in reports[name].facts:
                reports.update(self._ask({name: form}, [], _ALONE).reports)
        if counted and not rows:
            rows = self._ask({}, counted, _ALONE).rows
        return _Answer(reports, rows, answer.status)

    def _ask(self, formats: Mapping[str, str], counted: Sequence[str], limit: int) -> _Answer:
        result = self._run(formats, counted, limit)
        try:
            return _read(result, list(formats), counted, limit)
        except (ValueError, KeyError, TypeError, RecursionError):
            how = "the program" if result.status == "ok" else f"in {result.status}"
            error = Report({"error": f"loading it ended {how}"})
            return _Answer(dict.fromkeys(formats, error), {}, result.status)

    def _run(self, formats: Mapping[str, str], counted: Sequence[str], limit: int) -> Result:
        """Runs the probe that the guest has imported; a sandbox with another guest is sent it."""
        program = _PROGRAM.format(
            sources=[] if self.known.has_probe else _SOURCES,
            absent=_ABSENT,
            formats=dict(formats),
            counted=list(counted),
            packages=list(self.packages),
            limit=limit,
        )
        result = self.sandbox.run(program, timeout=self.timeout)
        if result.exit_code != _ABSENT or not self.known.has_probe:
            return result
        self.known.has_probe = False
        return self._run(formats, counted, limit)


def _read(result: Result, names: Sequence[str], counted: Sequence[str], limit: int) -> _Answer:
    """Reads a report, one line for each file in order. Raises one of several errors unless it is well formed
    and its program ended well."""
    if result.status != "ok":
        raise ValueError(result.status)
    texts = [line for line in result.stdout.splitlines() if line.startswith("{")]
    lines = [json.loads(text) for text in texts[: len(names) + len(counted) + 1]]
    if [line["name"] for line in lines] != [*names, *counted]:
        raise ValueError("other files")
    reports = {line["name"]: _report(line, _valid(line["facts"]), limit) for line in lines[: len(names)]}
    counts = [line for line in lines[len(names) :] if _is_count(line["rows"])]
    return _Answer(reports, {line["name"]: _report(line, {"rows": line["rows"]}, limit) for line in counts})


def _report(line: Mapping[str, Any], facts: Mapping[str, Any], limit: int) -> Report:
    """Raises ``TypeError`` where size or hash are none."""
    size, sha256 = line.get("size", 0), line.get("sha256", "")
    if not _is_count(size) or not isinstance(sha256, str):
        raise TypeError("no size or no hash")
    return Report(facts, sha256, size, limit)


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

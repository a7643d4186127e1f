"""The sandbox in which artifacts are audited. No program of an agent runs in it, except what a hostile model
does when it predicts; what it reports is read without trust, and can only ever be a complaint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from coaches.audits import heard
from coaches.audits.guest.complaint import Complaint, quote
from coaches.audits.guest.tables import Names
from sandbox.base import Backend, LostError, Result, Sandbox, SandboxSpec
from sandbox.host.libraries import packages as packages_of

_MOST_MISSED = 3
_FOLDER = Path(__file__).parent / "guest"
_MODULES = (
    "complaint", "relations", "tables", "plain", "replaced", "alignment", "consistency", "leakage", "empty",
    "models", "scales", "submissions", "report", "exact",
)  # fmt: skip
"""In dependency order: each after the modules that it imports."""
_PACKAGE = "coaches.audits.guest"
_LOAD = f"""
import sys
for name, source in {{sources!r}}:
    module = sys.modules[name] = type(sys)(name)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    if source is None:
        module.__path__ = []
    else:
        exec(compile(source, name, "exec"), module.__dict__)
for name in ("joblib", "sklearn.ensemble", "sklearn.isotonic", "sklearn.linear_model"):
    __import__(name)
from pandas import DataFrame
from sklearn.tree import DecisionTreeRegressor
table = DataFrame([[0.0], [1.0]], columns=["a"])
DecisionTreeRegressor().fit(table, table["a"]).predict(table)  # which imports what sklearn leaves for later
report = sys.modules["{_PACKAGE}.report"]
"""
_RUN = f"""
import sys
sys.modules["{_PACKAGE}.report"].report({{paths!r}}, {{names!r}}, {{facts!r}}, {{wanted!r}}, {{packages!r}})
"""


class Box:
    """A sandbox for the files of one episode. Use it as a context manager.

    What could not be examined is kept in ``missed``, each thing once: files that cannot be read or are too
    large, audits that failed or did not end, and the sandbox itself, which a hostile model may bring down.
    """

    def __init__(self, backend: Backend, timeout: float) -> None:
        """``timeout``: seconds for the audits of one moment. Raises ``SandboxError`` if none opens."""
        self._timeout = timeout
        self._packages = sorted(packages_of(()))
        self._box: Sandbox = backend.open(SandboxSpec(("numpy", "pandas", "joblib", "sklearn", _preload())))
        self._written: dict[bytes, str] = {}
        self._lost = False
        self.missed: dict[str, None] = {}

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *error: object) -> None:
        self._box.close()

    def complaints(
        self, files: Mapping[str, bytes], names: Names, facts: Mapping[str, Any], wanted: Sequence[str]
    ) -> list[Complaint]:
        """Returns what the audits ``wanted`` (``guest.report.AUDITS``) say of ``files`` (path -> content)."""
        kinds = set(asdict(names).values())
        paths = {
            name: path for name, data in files.items() if name in kinds and (path := self._write(name, data))
        }
        program = _RUN.format(
            paths=paths, names=asdict(names), facts=dict(facts), wanted=list(wanted), packages=self._packages
        )
        if (result := self._run(program)) is None:
            return []
        complaints, missed = heard.read(result, names, self._timeout)
        self.missed |= dict.fromkeys(missed)
        return complaints

    def value(self, program: str) -> str | None:
        """Returns the last line that a program prints, "" if none; None if the program fails.

        Also "" for one that did not end, as which it is missed: that says nothing of it.
        """
        if (result := self._run(program)) is None:
            return ""
        if result.status == "error":
            return None
        if result.status != "ok":
            self.missed[f"a program: {result.status}"] = None
            return ""
        lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def bring(self, files: Mapping[str, bytes]) -> bool:
        """Writes files under their own names, for a program that is run again; returns whether all are
        there."""
        return all(self._put(path, path, data) for path, data in files.items())

    def note(self) -> str:
        """Returns what was missed, for a rationale; "" if nothing was."""
        if not self.missed:
            return ""
        first = [*self.missed][:_MOST_MISSED]
        more = f"; and {len(self.missed) - len(first)} more" if len(self.missed) > len(first) else ""
        return f"; {len(self.missed)} not audited: {'; '.join(first)}{more}"

    def _write(self, name: str, data: bytes) -> str:
        if data not in self._written:
            path = f"file{len(self._written)}"
            self._written[data] = path if self._put(name, path, data) else ""
        return self._written[data]

    def _put(self, name: str, path: str, data: bytes) -> bool:
        """Returns whether a file was written: none that is too large, and none once the sandbox is lost."""
        try:
            if not self._lost:
                self._box.write(path, data)
                return True
        except LostError:
            self._lose()
        except ValueError:
            self.missed[f"{quote(name)}: {len(data)} bytes, too large for the sandbox"] = None
        return False

    def _run(self, program: str) -> Result | None:
        try:
            return None if self._lost else self._box.run(program, timeout=self._timeout)
        except LostError:
            self._lose()
            return None

    def _lose(self) -> None:
        self._lost = True
        self.missed["the sandbox of the audits was lost"] = None


@cache
def _preload() -> str:
    parts = _PACKAGE.split(".")
    sources: list[tuple[str, str | None]] = [
        (".".join(parts[:end]), None) for end in range(1, len(parts) + 1)
    ]
    sources += [(f"{_PACKAGE}.{name}", (_FOLDER / f"{name}.py").read_text("utf-8")) for name in _MODULES]
    return _LOAD.format(sources=sources)

"""The sandbox in which artifacts are audited. No program of an agent runs in it, except what a hostile model
does when it predicts; what it reports is read without trust, and can only ever be a complaint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.report import LOADING
from coaches.audits.guest.tables import Names
from sandbox.base import Backend, LostError, Result, Sandbox, SandboxSpec
from sandbox.host.libraries import packages as packages_of

MAX_TEXT, MAX_LINES = 400, 20
_FOLDER = Path(__file__).parent / "guest"
_MODULES = (
    "complaint", "relations", "tables", "alignment", "consistency", "leakage", "models", "scales",
    "submissions", "report",
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
for name in ("joblib", "sklearn.ensemble", "sklearn.isotonic", "sklearn.linear_model", "sklearn.tree"):
    __import__(name)
report = sys.modules["{_PACKAGE}.report"]
"""
_RUN = f"""
import sys
sys.modules["{_PACKAGE}.report"].report({{paths!r}}, {{names!r}}, {{facts!r}}, {{wanted!r}}, {{packages!r}})
"""


class Box:
    """A sandbox for the files of one episode. Use it as a context manager.

    If it is lost, which a hostile model may bring about, nothing more is found: ``lost`` says so.
    """

    def __init__(self, backend: Backend, timeout: float) -> None:
        """``timeout``: seconds for the audits of one moment. Raises ``SandboxError`` if none opens."""
        self._timeout = timeout
        self._packages = sorted(packages_of(()))
        self._box: Sandbox = backend.open(SandboxSpec(("numpy", "pandas", "joblib", "sklearn", _preload())))
        self._written: dict[bytes, str] = {}
        self.lost = False

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *error: object) -> None:
        self._box.close()

    def complaints(
        self, files: Mapping[str, bytes], names: Names, facts: Mapping[str, Any], wanted: Sequence[str]
    ) -> list[Complaint]:
        """Returns what the audits ``wanted`` (``guest.report.AUDITS``) say of ``files`` (path -> content).

        A file that is too large for the sandbox is left out, and so are complaints of audits that did not
        end in time.
        """
        kinds = set(asdict(names).values())
        if self.lost:
            return []
        paths = {name: path for name, data in files.items() if name in kinds if (path := self._write(data))}
        program = _RUN.format(
            paths=paths, names=asdict(names), facts=dict(facts), wanted=list(wanted), packages=self._packages
        )
        result = self._run(program)
        return [] if result is None else list(islice(_read(result.stdout, names), MAX_LINES))

    def value(self, program: str) -> str | None:
        """Returns the last line that a program prints; None if it fails or prints nothing."""
        result = self._run(program)
        if result is None or result.status != "ok":
            return None
        lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
        return lines[-1] if lines else None

    def bring(self, files: Mapping[str, bytes]) -> None:
        """Writes files under their own names, for a program that is run again."""
        for path, data in files.items():
            self._put(path, data)

    def _write(self, data: bytes) -> str:
        if data not in self._written:
            path = f"file{len(self._written)}"
            self._written[data] = path if self._put(path, data) else ""
        return self._written[data]

    def _put(self, path: str, data: bytes) -> bool:
        """Returns whether a file was written: none that is too large, and none once the sandbox is lost."""
        try:
            if not self.lost:
                self._box.write(path, data)
                return True
        except LostError:
            self.lost = True
        except ValueError:
            pass
        return False

    def _run(self, program: str) -> Result | None:
        try:
            return None if self.lost else self._box.run(program, timeout=self._timeout)
        except LostError:
            self.lost = True
            return None


@cache
def _preload() -> str:
    parts = _PACKAGE.split(".")
    sources: list[tuple[str, str | None]] = [
        (".".join(parts[:end]), None) for end in range(1, len(parts) + 1)
    ]
    sources += [(f"{_PACKAGE}.{name}", (_FOLDER / f"{name}.py").read_text("utf-8")) for name in _MODULES]
    return _LOAD.format(sources=sources)


def _read(stdout: str, names: Names) -> Iterator[Complaint]:
    """Yields the complaints in a report, about files of the team alone; once a model is loaded, none about
    features, which it cannot be asked about."""
    files = set(asdict(names).values())
    for line in stdout.splitlines():
        if line == f'"{LOADING}"':
            files -= {names.features, names.test_features}
        elif line.startswith("{") and (found := _complaint(line)) is not None and found.artifact in files:
            yield found


def _complaint(line: str) -> Complaint | None:
    try:
        row = json.loads(line)
        found = Complaint(*(row[name] for name in Complaint._fields))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = all(isinstance(part, str) for part in found)
    if not texts or found.strength not in ("proof", "doubt", "words"):
        return None
    shown = "".join(letter if letter.isprintable() else "?" for letter in found.text[:MAX_TEXT])
    return found._replace(text=shown, audit=found.audit[:20])

# my_parts/logged.py
"""A sandbox backend that opens another backend's sandboxes and logs every program they run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conf
from sandbox.base import Backend, FileInfo, Result, Sandbox, SandboxSpec


class Logged:
    """Adds no isolation and removes none: its guarantees are the other backend's."""

    @dataclass
    class Config:
        sandbox: dict[str, Any]
        """The backend that runs the programs; what is left out comes from its own YAML."""
        path: str
        """A JSON Lines file; one line per program."""

    def __init__(self, config: Config) -> None:
        """Raises ``SandboxError`` when the other backend cannot start here."""
        self._inner: Backend = conf.build("sandbox", conf.fill_defaults("sandbox", config.sandbox))
        self._path = Path(config.path)
        self.name = f"logged-{self._inner.name}"
        self.guarantees = self._inner.guarantees
        self.versions = self._inner.versions
        self.limits = self._inner.limits
        self.known_gaps = self._inner.known_gaps
        self.has_sessions = self._inner.has_sessions

    def open(self, spec: SandboxSpec) -> Sandbox:
        return LoggedSandbox(self._inner.open(spec), self._log)

    def resources(self) -> frozenset[str]:
        return self._inner.resources()

    def close(self) -> None:
        self._inner.close()

    def _log(self, code: str, result: Result) -> None:
        line = json.dumps({"code": code, "status": result.status, "seconds": result.wall_s})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class LoggedSandbox:
    def __init__(self, inner: Sandbox, log: Callable[[str, Result], None]) -> None:
        self._inner, self._log = inner, log

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        result = self._inner.run(code, timeout=timeout, seed=seed, session=session)
        self._log(code, result)
        return result

    def end_session(self, session: str) -> None:
        self._inner.end_session(session)

    def read(self, path: str) -> bytes:
        return self._inner.read(path)

    def write(self, path: str, data: bytes) -> None:
        self._inner.write(path, data)

    def list(self) -> tuple[FileInfo, ...]:
        return self._inner.list()

    def close(self) -> None:
        self._inner.close()

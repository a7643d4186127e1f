"""Selects the first backend that can start here and guarantees what is required; one line in the log says
which, and why none before it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import conf
from conf.extras import MissingExtraError
from conf.ranges import Positive
from sandbox.base import GUARANTEES, Backend, Sandbox, SandboxError, SandboxSpec
from sandbox.local import MODES

CANDIDATES = ("docker", *(f"local ({mode})" for mode in MODES))
"""In the order in which they are tried; the mode in parentheses."""
log = logging.getLogger(__name__)


class Auto:
    """Delegates to the selected backend. Never runs programs with less isolation than required, unless told
    to."""

    @dataclass(frozen=True)
    class Config:
        requires: list[str]
        """Some of ``sandbox.base.GUARANTEES``."""
        allow_unisolated: bool
        """Where no backend guarantees what is required, run with less, even without isolation."""
        limits: dict[str, Positive | None]
        """Null: what the chosen backend's own file says."""

    def __init__(self, config: Config) -> None:
        """Raises ``SandboxError`` when no backend that guarantees what is required can start."""
        self._backend = _choose(config)
        self.name = self._backend.name
        self.guarantees = self._backend.guarantees
        self.known_gaps = self._backend.known_gaps
        self.has_sessions = self._backend.has_sessions
        self.limits = self._backend.limits

    @property
    def versions(self) -> Mapping[str, str]:
        return self._backend.versions

    def open(self, spec: SandboxSpec) -> Sandbox:
        return self._backend.open(spec)

    def resources(self) -> frozenset[str]:
        return self._backend.resources()

    def close(self) -> None:
        self._backend.close()


def _choose(config: Auto.Config) -> Backend:
    if unknown := set(config.requires) - GUARANTEES:
        raise SandboxError(f"requires must be among {_list(GUARANTEES)}; got {_list(unknown)}")
    reasons: list[str] = []
    for candidate in CANDIDATES:
        name, _, mode = candidate.rstrip(")").partition(" (")
        try:
            backend = _build(config, name, **({"mode": mode} if mode else {}))
        except (SandboxError, MissingExtraError) as error:
            reasons.append(f"{candidate}: {error}")
            continue
        if lacking := set(config.requires) - backend.guarantees:
            reasons.append(f"{candidate}: not isolated: {_list(lacking)}")
            backend.close()
            continue
        why = f" ({'; '.join(reasons)})" if reasons else ""
        log.info("sandbox: %s, which guarantees %s%s", backend.name, _list(backend.guarantees), why)
        return backend
    why = f"no backend here guarantees {_list(config.requires)}: {'; '.join(reasons)}"
    if not config.allow_unisolated:
        raise SandboxError(why)
    backend = _build(config, "local", mode="auto", allow_unisolated=True)
    log.warning("sandbox: %s, which guarantees %s; %s", backend.name, _list(backend.guarantees), why)
    return backend


def _build(config: Auto.Config, name: str, **settings: object) -> Backend:
    """Builds a backend by its own settings, and the limits that ``config`` overrides. Raises
    ``SandboxError``."""
    node = conf.load("sandbox", name, **settings)
    given = {key: value for key, value in config.limits.items() if value is not None}
    node.limits = {**node.limits, **given}
    backend: Backend = conf.build("sandbox", node)
    return backend


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"

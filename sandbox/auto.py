"""Docker when a daemon answers and has the image, else ``local``; one line in the log says which, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import conf
from sandbox.base import Backend, Sandbox, SandboxError, SandboxSpec

_ORDER = ("docker", "local")


class Auto:
    """The first backend that can start here. It never runs without isolation unless told to."""

    @dataclass(frozen=True)
    class Config:
        allow_unisolated: bool
        """Run without isolation where nothing can isolate, instead of refusing."""
        limits: dict[str, float | None]
        """Null: what the chosen backend's own file says."""

    def __init__(self, config: Config) -> None:
        """Raises ``SandboxError`` when no backend can start."""
        self._backend = _choose(config)
        self.name = self._backend.name
        self.guarantees = self._backend.guarantees
        self.versions = self._backend.versions

    def open(self, spec: SandboxSpec) -> Sandbox:
        return self._backend.open(spec)

    def close(self) -> None:
        self._backend.close()


def _choose(config: Auto.Config) -> Backend:
    reasons: list[str] = []
    for name in _ORDER:
        node = conf.load("sandbox", name)
        node.limits = {
            **node.limits,
            **{key: value for key, value in config.limits.items() if value is not None},
        }
        if name == "local":
            node.allow_unisolated = config.allow_unisolated
        try:
            backend: Backend = conf.build("sandbox", node)
        except SandboxError as error:
            reasons.append(f"{name}: {error}")
            continue
        held = ", ".join(sorted(backend.guarantees)) or "nothing"
        why = f" ({'; '.join(reasons)})" if reasons else ""
        logging.getLogger(__name__).info("sandbox: %s, which holds %s%s", backend.name, held, why)
        return backend
    raise SandboxError(f"programs cannot be isolated here: {'; '.join(reasons)}")

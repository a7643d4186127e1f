"""What sandboxes import before any program runs.

A check of artifacts runs in a process of its own, which would otherwise import pandas each time."""

from __future__ import annotations

from collections.abc import Iterator

from envs.base import Scenario
from sandbox.artifacts import ArtifactSpec


def preload(scenario: Scenario) -> tuple[str, ...]:
    """Returns ``scenario.preload``, after the libraries that check the artifacts of its roles."""
    specs = [spec for role in scenario.roles for spec in (*role.requires, *role.produces)]
    needed = dict.fromkeys(part for spec in specs for part in _needed(spec))
    return (*(part for part in needed if part not in scenario.preload), *scenario.preload)


def _needed(spec: ArtifactSpec) -> Iterator[str]:
    if spec.kind in ("table", "vector", "estimator", "csv"):
        yield "pandas"
    if spec.kind == "estimator":
        yield from ("joblib", "sklearn")

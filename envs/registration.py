"""Registers environments with PettingZoo, and each of their roles with Gymnasium."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import pettingzoo  # type: ignore[import-untyped]

import conf
from conf import ConfigError
from envs.shared import build_scenario
from envs.validation import validate

_ID = re.compile(r"([\w-]+/[\w.-]+)-v(\d+)", re.ASCII)
_NOT_IN_IDS = re.compile(r"[^\w.-]+")


def register(id: str, name: str, **settings: Any) -> None:
    """Registers an environment of one's own, so that both ``make`` functions know it.

    ``register("acme/ledger-v0", "my_parts.ledger", clerks=2)`` makes ``pettingzoo.make("aec",
    "acme/ledger-v0")``, ``pettingzoo.make("parallel", "acme/ledger-v0")`` and, for each of its roles,
    ``gymnasium.make("acme/ledger-clerk-v0")`` work. ``name`` and ``settings`` are those of ``envs.make``. The
    scenario is built once, to learn its roles, and again for each environment.

    Raises:
        ConfigError: ``id`` is not ``namespace/name-v0``, there is no such environment or setting, or the
            scenario cannot be played.
    """
    node = {key: value for key, value in settings.items() if key not in _NOT_OF_THE_SCENARIO}
    _register(id, name, _roles(name, node), settings)


def register_bundled() -> None:
    """Registers every environment of ``conf/env`` that is not registered yet.

    Its roles are those of its YAML's ``max_turns``, where it has one: to build every scenario takes seconds.
    """
    for name in conf.names("env"):
        id = f"coachgym/{name}-v0"
        if id not in pettingzoo.aec_registry:
            turns = conf.load("env", name).get("max_turns")
            _register(id, name, turns if isinstance(turns, Mapping) else _roles(name, {}), {})


def _roles(name: str, settings: Mapping[str, Any]) -> list[str]:
    scenario = build_scenario(name, settings)
    validate(scenario)
    if hasattr(scenario, "close"):
        scenario.close()
    return [role.name for role in scenario.roles]


_NOT_OF_THE_SCENARIO = ("sandbox", "render_mode", "others")
"""Arguments of the ``make`` functions that are not settings of the scenario."""


def _register(id: str, name: str, roles: Iterable[str], settings: Mapping[str, Any]) -> None:
    parts = _ID.fullmatch(id)
    if parts is None:
        raise ConfigError(f"id must be namespace/name-v0, like acme/ledger-v0; got {id!r:.80}")
    given = {"name": name, **settings}
    team = {key: value for key, value in given.items() if key != "others"}
    pettingzoo.register("aec", id, entry_point="envs.making:make_ordered", kwargs=team)
    pettingzoo.register("parallel", id, entry_point="envs.making:make_parallel", kwargs=team)
    stem, version = parts.groups()
    for role in roles:
        gymnasium.register(
            f"{stem}-{_NOT_IN_IDS.sub('_', role)}-v{version}",
            entry_point="envs.single_agent:make",
            kwargs={**given, "role": role},
        )

"""Makes environments: by a name of ``conf/env``, by the path of a YAML, or by a module of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pettingzoo.utils import OrderEnforcingWrapper, turn_based_aec_to_parallel  # type: ignore[import-untyped]

import conf
from conf import ConfigError
from envs.pipeline import PipelineEnv
from envs.shared import build_scenario
from envs.sizes import check_scenario
from sandbox.base import Backend, Limits


def make(
    name: str | Path,
    *,
    sandbox: str | Mapping[str, Any] | Backend = "auto",
    render_mode: str | None = None,
    limits: Limits | Mapping[str, float] | None = None,
    **settings: Any,
) -> PipelineEnv:
    """Makes an environment, with ``settings`` in place of those of its YAML.

    ``name``: that of a file in ``conf/env``; the path of a YAML, ``my_conf/env/ledger.yaml``; or a module
    with a scenario, ``my_parts.ledger``: its settings are all given here or have defaults in its ``Config``.
    ``sandbox``: the name of a file in ``conf/sandbox``, ``{"name": …}`` with some of its settings, or a
    backend. ``render_mode`` is None or ``ansi``;
    ``render`` returns text either way. ``limits``: some or all limits of the sandboxes,
    ``limits={"memory_mb": 2048}``.

    ``close()`` closes everything that was opened here: the scenario, if it has a method ``close``, and the
    backend, unless it was given. At the latest this happens when the environment is garbage-collected or the
    interpreter exits. The environment cannot be reset afterwards.

    Raises:
        conf.ConfigError: there is no such environment, sandbox or setting, the tasks cannot be read, or their
            files do not fit into the sandboxes.
        sandbox.base.SandboxError: a sandbox of this kind cannot run here.
    """
    if limits is not None:
        settings["limits"] = asdict(limits) if isinstance(limits, Limits) else limits
    opened = ExitStack()
    with ExitStack() as unless_made:
        unless_made.callback(opened.close)
        scenario = build_scenario(str(name) if isinstance(name, Path) else name, settings)
        if hasattr(scenario, "close"):
            opened.callback(scenario.close)
        backend = _open(sandbox, opened)
        check_scenario(scenario, backend)
        env = PipelineEnv(scenario, backend, render_mode=render_mode, on_close=opened.close)
        unless_made.pop_all()
    return env


def make_ordered(name: str | Path, **settings: Any) -> Any:
    """Makes an environment in PettingZoo's ``OrderEnforcingWrapper``, as the ``env`` of Farama's modules."""
    return OrderEnforcingWrapper(make(name, **settings))


def make_parallel(name: str | Path, **settings: Any) -> Any:
    """Makes an environment for learners of PettingZoo's ``ParallelEnv``.

    Agents still act one after the other: in each step only the action of
    ``infos[agent]["active_agent"]`` is taken, and those of the others are ignored.
    """
    return turn_based_aec_to_parallel(make_ordered(name, **settings))


def _open(sandbox: str | Mapping[str, Any] | Backend, opened: ExitStack) -> Backend:
    """Returns the backend, and adds its ``close`` to ``opened`` if it is built here."""
    node = {"name": sandbox} if isinstance(sandbox, str) else sandbox
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        if not hasattr(node, "open"):
            raise ConfigError(
                "sandbox must be a backend, or the name of one in conf/sandbox, alone or as the name in a "
                f"mapping with its settings; got {sandbox!r}"
            )
        return node  # type: ignore[return-value]
    backend: Backend = conf.build("sandbox", conf.fill_defaults("sandbox", node))
    opened.callback(backend.close)
    return backend

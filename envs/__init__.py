"""Multi-agent environments for language models, as PettingZoo AEC environments.

>>> env = make("mathchat")                                  # doctest: +SKIP
>>> env = pettingzoo.make("aec", "coachgym/mathchat-v0")    # doctest: +SKIP
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pettingzoo  # type: ignore[import-untyped]

import conf

if not hasattr(conf, "require_siblings"):
    place = getattr(conf, "__file__", None) or next(iter(conf.__path__))
    raise ImportError(
        f"{place} is found before coachgym's own conf: rename it, or run elsewhere", name=__name__
    )
conf.require_siblings(__name__)

from envs.base import Scenario  # noqa: E402
from envs.pipeline import PipelineEnv  # noqa: E402
from envs.sizes import check_scenario  # noqa: E402
from sandbox.base import Backend, Limits  # noqa: E402

__all__ = ["PipelineEnv", "make"]


def make(
    name: str,
    *,
    sandbox: str | Backend = "auto",
    render_mode: str | None = None,
    limits: Limits | Mapping[str, float] | None = None,
    **overrides: Any,
) -> PipelineEnv:
    """Makes the environment of ``conf/env/<name>.yaml``, with ``overrides`` of its settings.

    ``sandbox`` is the name of a file in ``conf/sandbox``, or a backend. A backend that is made here is closed
    when the environment is garbage-collected or the interpreter exits; a given one stays open.
    ``render_mode`` is None or ``ansi``; ``render`` returns text either way. ``limits``: some or all limits of
    the sandboxes, ``limits={"memory_mb": 2048}``.

    Raises:
        conf.ConfigError: there is no such environment, sandbox or setting, the tasks cannot be read, or their
            files do not fit into the sandboxes.
        sandbox.base.SandboxError: a sandbox of this kind cannot run here.
    """
    if limits is not None:
        overrides["limits"] = asdict(limits) if isinstance(limits, Limits) else limits
    scenario = conf.build("envs", conf.load("env", name, **overrides))
    if not isinstance(sandbox, str):
        return _assemble(scenario, sandbox, render_mode)
    backend = conf.build("sandbox", conf.load("sandbox", sandbox))
    try:
        env = _assemble(scenario, backend, render_mode)
    except BaseException:
        backend.close()
        raise
    weakref.finalize(env, backend.close)
    return env


def _assemble(scenario: Scenario, backend: Backend, render_mode: str | None) -> PipelineEnv:
    check_scenario(scenario, backend)
    return PipelineEnv(scenario, backend, render_mode=render_mode)


def _register() -> None:
    """Registers every configured environment with PettingZoo, unless it is registered already."""
    for name in conf.names("env"):
        identifier = f"coachgym/{name}-v0"
        if identifier not in pettingzoo.aec_registry:
            pettingzoo.register("aec", identifier, entry_point="envs:make", kwargs={"name": name})


_register()

"""Multi-agent environments for language models, as PettingZoo AEC environments.

>>> env = make("mathchat")                                  # doctest: +SKIP
>>> env = pettingzoo.make("aec", "coachgym/mathchat-v0")    # doctest: +SKIP
"""

from __future__ import annotations

import weakref
from typing import Any

import pettingzoo  # type: ignore[import-untyped]

import conf
from envs.pipeline import PipelineEnv
from sandbox.base import Backend

__all__ = ["PipelineEnv", "make"]


def make(name: str, *, sandbox: str | Backend = "auto", **overrides: Any) -> PipelineEnv:
    """Makes the environment of ``conf/env/<name>.yaml``, with ``overrides`` of its settings.

    ``sandbox`` is the name of a file in ``conf/sandbox``, or a backend. A backend that is made here is closed
    when the environment is garbage-collected or the interpreter exits; a given one stays open.

    Raises:
        conf.ConfigError: there is no such environment, sandbox or setting, or the tasks cannot be read.
        sandbox.base.SandboxError: a sandbox of this kind cannot run here.
    """
    scenario = conf.build("envs", conf.load("env", name, **overrides))
    if not isinstance(sandbox, str):
        return PipelineEnv(scenario, sandbox)
    backend = conf.build("sandbox", conf.load("sandbox", sandbox))
    env = PipelineEnv(scenario, backend)
    weakref.finalize(env, backend.close)
    return env


def _register() -> None:
    """Registers every configured environment with PettingZoo, unless it is registered already."""
    for path in sorted((conf.ROOT / "env").glob("*.yaml")):
        identifier = f"coachgym/{path.stem}-v0"
        if identifier not in pettingzoo.aec_registry:
            pettingzoo.register("aec", identifier, entry_point="envs:make", kwargs={"name": path.stem})


_register()

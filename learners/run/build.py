"""Builds the parts of a run from its configuration, and describes them for its records."""

from __future__ import annotations

import gc
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import conf
from coaches.judging import inner
from conf import ConfigError
from conf.extras import require
from conf.revision import revision
from learners.algorithms import members
from learners.config import RunConfig
from learners.run.folder import FREE, free
from learners.runtimes.base import Parts, Runtime
from learners.runtimes.capabilities import generator_class
from learners.runtimes.naming import trained_by
from learners.runtimes.team import check_team, team_of

PACKAGES = {
    "env": "envs",
    "sandbox": "sandbox",
    "algorithm": "learners",
    "runtime": "learners.runtimes",
    "generator": "learners.generators",
    "weights": "learners.weights",
    "model": "learners.models",
}
"""Group of a part, besides the coach -> the package of its modules. The modules of the first three load no
torch, so a mistake in their settings is a line within two seconds."""
LIBRARIES = ("torch", "transformers", "numpy", "gymnasium", "pettingzoo")


def build(config: RunConfig) -> Parts:
    """Builds everything that ``config`` names, where its runtime places it.

    What is loaded by then stays until the parts are closed, so the garbage collector leaves it out: looking
    through the half a million objects of the libraries stops every episode for a quarter of a second.

    Raises:
        ConfigError: a part is not available, or its settings are invalid.
    """
    runtime: Runtime = conf.build("learners.runtimes", config.runtime)
    parts = runtime.assemble(config)
    gc.freeze()
    return parts


def check(config: RunConfig) -> None:
    """Checks the settings of every part, before anything is loaded or written.

    Raises:
        ConfigError: there is no such part, a setting is wrong or does not suit another one, or a package that
            one needs is not installed.
    """
    if config.wandb.mode != "disabled":
        require(f"wandb.mode={config.wandb.mode}", "wandb")
    if config.tensorboard:
        require("tensorboard=true", "tensorboard")
    inner.check(config.coach)
    for group, package in PACKAGES.items():
        conf.check(package, getattr(config, group), group)
    for agent, own in config.team.items():
        for group, node in own.container().items():
            conf.check(PACKAGES[group], node, f"team.{agent}.{group}")
    if config.record.tokens != "none":
        members.check_terms(conf.plugin_class("learners", config.algorithm.name))
    _check_generator(config)
    check_team(config)


def _check_generator(config: RunConfig) -> None:
    """Checks that the generator can do what the run asks of it, before anything is loaded.

    Raises:
        ConfigError: the run trains, evaluates trained weights or plays ahead, and its generator cannot.
    """
    generator, chosen = generator_class(config), f"generator={config.generator.name}"
    if not generator.trains:
        if config.steps:
            raise ConfigError(
                f"{chosen} is for inference: set steps=0, or evaluate with python -m benchmarks.evaluate"
            )
        if config.evaluation.run is not None:
            raise ConfigError(f"evaluation.run has weights of its own, which {chosen} cannot take")
    if config.rollout.staleness and generator.lockstep:
        raise ConfigError(
            f"rollout.staleness=1 plays while weights change, so the generator needs its own copy of them; "
            f"{chosen} has none"
        )


def metadata(parts: Parts, config: RunConfig) -> dict[str, Any]:
    """Returns the contents of ``metadata.json``: what a run runs on, who plays whom, and settings that may
    change when it is resumed."""
    isolation = parts.rollout_worker.isolation()
    return {
        "coachgym": asdict(revision()),
        "algorithm": trained_by(config),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "sandbox": {
            "backend": isolation.backend,
            "guarantees": list(isolation.guarantees),
            "libraries": dict(isolation.libraries),
        },
        "team": team_of(config, parts.scenario).describe(),
        FREE: free(config),
        "tasks": {split: [task.id for task in parts.scenario.tasks(split)] for split in ("train", "heldout")},
    }

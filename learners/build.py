"""Names -> objects: a run's configuration becomes the parts that the trainer sequences."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from omegaconf import DictConfig

import conf
from coaches.base import Coach, HindsightCoach
from conf import ConfigError
from envs.base import Scenario
from learners.base import Algorithm, Policy, Runtime
from learners.models.base import LoadedModel
from learners.policy import LocalPolicy
from learners.rollout import derive_seed
from learners.updater import Updater
from sandbox.base import Backend

LIBRARIES = ("torch", "transformers", "numpy", "gymnasium", "pettingzoo")


@dataclass(frozen=True)
class Parts:
    """All that a run is made of."""

    scenario: Scenario
    backend: Backend
    coach: Coach | HindsightCoach
    policies: Mapping[str, Policy]
    """By agent, in the order in which they play."""
    algorithm: Algorithm
    runtime: Runtime

    def close(self) -> None:
        """Ends every sandbox."""
        self.backend.close()


def build(config: DictConfig) -> Parts:
    """Builds everything that ``config`` names; cheap parts first: a mistake shows before a model loads.

    Raises:
        ConfigError: a part cannot be had, or its settings are wrong.
    """
    scenario: Scenario = conf.build("envs", config.env)
    for split in ("train", "heldout"):
        if not scenario.tasks(split):
            raise ConfigError(f"env {scenario.name} has no {split} tasks")
    coach = conf.build("coaches", config.coach)
    algorithm = conf.build("learners", config.algorithm)
    runtime = conf.build("learners.runtimes", config.runtime)
    policies = {
        role.name: _policy(config, role.name, scenario.name, algorithm.needs_reference)
        for role in scenario.roles
    }
    backend = conf.build("sandbox", config.sandbox)
    return Parts(scenario, backend, coach, policies, algorithm, runtime)


def metadata(parts: Parts) -> dict[str, Any]:
    """What a run runs on, for ``metadata.json``."""
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "sandbox": {
            "backend": parts.backend.name,
            "guarantees": sorted(parts.backend.guarantees),
            "libraries": dict(parts.backend.versions),
        },
        "tasks": {split: [task.id for task in parts.scenario.tasks(split)] for split in ("train", "heldout")},
    }


def _policy(config: DictConfig, agent: str, env_name: str, reference: bool) -> LocalPolicy:
    loaded: LoadedModel = conf.build("learners.models", config.model).load(env_name, config.seed)
    return LocalPolicy(
        agent,
        loaded=loaded,
        generator=conf.build("learners.generators", config.generator, loaded=loaded, agent=agent),
        updater=Updater(loaded, steps=config.steps, seed=derive_seed(config.seed, "updates", agent)),
        reference=reference,
    )

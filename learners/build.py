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
from learners.base import Algorithm, Generator, Policy, Runtime
from learners.policy import LocalPolicy
from learners.seeds import derive_seed
from learners.updater import Updater
from learners.weights.base import Weights
from sandbox.base import Backend

LIBRARIES = ("torch", "transformers", "numpy", "gymnasium", "pettingzoo")
POLICIES = ("independent", "shared")


@dataclass(frozen=True)
class Parts:
    """All that a run is made of."""

    scenario: Scenario
    backend: Backend
    coach: Coach | HindsightCoach
    team: Mapping[str, Policy]
    """By agent, in the order in which they play; agents may share one."""
    generator: Generator
    algorithm: Algorithm
    runtime: Runtime

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Each policy once, by its own name."""
        return {policy.name: policy for policy in self.team.values()}

    def close(self) -> None:
        """Ends every sandbox and whatever the generator runs."""
        self.generator.close()
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
    owners = _owners(config, scenario)
    weights = load_weights(config, scenario, reference=algorithm.needs_reference)
    backend = conf.build("sandbox", config.sandbox)
    try:
        generator: Generator = conf.build("learners.generators", config.generator, policies=weights)
    except BaseException:
        backend.close()
        raise
    policies = {name: _policy(config, own, generator) for name, own in weights.items()}
    team = {agent: policies[owner] for agent, owner in owners.items()}
    return Parts(scenario, backend, coach, team, generator, algorithm, runtime)


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


def load_weights(config: DictConfig, scenario: Scenario, *, reference: bool) -> dict[str, Weights]:
    """The initial weights of every policy, by its name.

    Raises:
        ConfigError: the model cannot be had, or a setting is wrong.
    """
    names = list(dict.fromkeys(_owners(config, scenario).values()))
    kind = conf.build("learners.models", config.model)
    found: dict[str, Weights] = conf.build("learners.weights", config.weights).load(
        kind, names, scenario.name, config.seed, reference=reference
    )
    return found


def _owners(config: DictConfig, scenario: Scenario) -> dict[str, str]:
    """Agent -> name of its policy."""
    if config.policies not in POLICIES:
        raise ConfigError(f"policies must be one of {', '.join(POLICIES)}, not {config.policies!r}")
    shared = config.policies == "shared"
    return {role.name: "shared" if shared else role.name for role in scenario.roles}


def _policy(config: DictConfig, weights: Weights, generator: Generator) -> LocalPolicy:
    seed = derive_seed(config.seed, "updates", weights.name)
    return LocalPolicy(
        weights=weights, generator=generator, updater=Updater(weights, steps=config.steps, seed=seed)
    )

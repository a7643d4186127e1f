"""Names -> objects: a run's configuration becomes the parts that the trainer sequences."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import conf
from coaches.base import Coach, HindsightCoach
from conf import ConfigError
from envs.base import Scenario
from learners.base import Algorithm, Generator, Player, Policy, Runtime
from learners.config import RunConfig
from learners.models.base import resolve_device
from learners.rollout.player import LocalPlayer
from learners.rollout.seeds import derive_seed
from learners.update import allocator
from learners.update.fsdp import Ranks
from learners.update.learner import LocalLearner
from learners.update.policy import LearningPolicy, ServedPolicy
from learners.update.updater import ALONE, Updater
from learners.weights.base import Weights

LIBRARIES = ("torch", "transformers", "numpy", "gymnasium", "pettingzoo")


@dataclass(frozen=True)
class Parts:
    """All that a run is made of."""

    scenario: Scenario
    player: Player
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
        """Ends every sandbox, whatever the generator runs, and every process."""
        self.generator.close()
        self.player.close()
        self.runtime.close()


def build(config: RunConfig) -> Parts:
    """Builds everything that ``config`` names, where its runtime says.

    Raises:
        ConfigError: a part cannot be had, or its settings are wrong.
    """
    _check_generator(config)
    runtime: Runtime = conf.build("learners.runtimes", config.runtime)
    return runtime.assemble(config)


def assemble(config: RunConfig, runtime: Runtime) -> Parts:
    """Everything in this process; raises as ``build``."""
    scenario = build_scenario(config)
    coach = conf.build("coaches", config.coach)
    algorithm = build_algorithm(config)
    owners = build_owners(config, scenario)
    trains = can_train(config)
    weights = load_weights(config, scenario, reference=algorithm.needs_reference) if trains else {}
    backend = conf.build("sandbox", config.sandbox)
    try:
        known = weights if trains else unique(owners)
        generator: Generator = conf.build("learners.generators", config.generator, policies=known)
    except BaseException:
        backend.close()
        raise
    policies: Mapping[str, Policy] = {
        name: LearningPolicy(name, build_learner(config, weights[name]), generator)
        if trains
        else ServedPolicy(name, generator)
        for name in unique(owners)
    }
    team = {agent: policies[owner] for agent, owner in owners.items()}
    player = LocalPlayer(scenario, backend, coach, team, deferred=config.rollout.deferred)
    return Parts(scenario, player, coach, team, generator, algorithm, runtime)


def can_train(config: RunConfig) -> bool:
    """Whether the generator samples from weights of ours (see ``Generator``)."""
    return bool(getattr(conf.plugin_class("learners.generators", config.generator.name), "trains", True))


def _check_generator(config: RunConfig) -> None:
    """Checks that the generator can do what the run asks of it, before anything is loaded.

    Raises:
        ConfigError: the run trains, evaluates trained weights or plays ahead, and its generator cannot.
    """
    chosen = f"generator={config.generator.name}"
    if not can_train(config):
        if config.steps:
            raise ConfigError(
                f"{chosen} is for inference: set steps=0, or evaluate with python -m benchmarks.evaluate"
            )
        if config.evaluation.run is not None:
            raise ConfigError(f"evaluation.run has weights of its own, which {chosen} cannot take")
    if config.rollout.staleness and conf.plugin_class("learners.generators", config.generator.name).lockstep:
        raise ConfigError(
            f"rollout.staleness=1 plays while weights change, so the generator needs its own copy of them; "
            f"{chosen} has none"
        )


def build_scenario(config: RunConfig) -> Scenario:
    """The environment's roles, tasks and grader.

    Raises:
        ConfigError: it has no tasks to train on, or none to evaluate on.
    """
    scenario: Scenario = conf.build("envs", config.env)
    for split in ("train", "heldout"):
        if not scenario.tasks(split):
            raise ConfigError(f"env {scenario.name} has no {split} tasks")
    return scenario


def build_algorithm(config: RunConfig) -> Algorithm:
    """Builds the algorithm."""
    algorithm: Algorithm = conf.build("learners", config.algorithm)
    return algorithm


def build_owners(config: RunConfig, scenario: Scenario) -> dict[str, str]:
    """Agent -> name of its policy."""
    shared = config.policies == "shared"
    return {role.name: "shared" if shared else role.name for role in scenario.roles}


def unique(owners: Mapping[str, str]) -> list[str]:
    """The names of the policies, each once."""
    return list(dict.fromkeys(owners.values()))


def load_weights(
    config: RunConfig, scenario: Scenario, *, reference: bool, names: Sequence[str] | None = None
) -> dict[str, Weights]:
    """The initial weights of the policies in ``names``, or of all.

    Raises:
        ConfigError: the model cannot be had, or a setting is wrong.
    """
    wanted = unique(build_owners(config, scenario)) if names is None else names
    if resolve_device(config.model.device) == "cpu":
        allocator.prepare()
    kind = conf.build("learners.models", config.model)
    found: dict[str, Weights] = conf.build("learners.weights", config.weights).load(
        kind, wanted, scenario.name, config.seed, reference=reference
    )
    return found


def build_learner(config: RunConfig, weights: Weights, ranks: Ranks = ALONE) -> LocalLearner:
    """What trains ``weights``, shared among ``ranks``."""
    seed = derive_seed(config.seed, "updates", weights.name)
    return LocalLearner(weights, Updater(weights, steps=config.steps, seed=seed, ranks=ranks))


def metadata(parts: Parts) -> dict[str, Any]:
    """What a run runs on, for ``metadata.json``."""
    isolation = parts.player.isolation()
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "sandbox": {
            "backend": isolation.backend,
            "guarantees": list(isolation.guarantees),
            "libraries": dict(isolation.libraries),
        },
        "tasks": {split: [task.id for task in parts.scenario.tasks(split)] for split in ("train", "heldout")},
    }

"""Names -> objects: builds each part that a configuration names, for every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import conf
from conf import ConfigError
from envs.base import Scenario
from envs.sizes import check_scenario
from learners.algorithms import contract
from learners.base import Algorithm, Generator, Weights, WeightsKind
from learners.config import RunConfig
from learners.models.base import resolve_device
from learners.policy import Policy
from learners.rollout.seeds import derive_seed
from learners.rollout.worker import LocalRolloutWorker
from learners.runtimes.base import Parts, Runtime, closed_on_error
from learners.runtimes.judge import build_judge
from learners.update import allocator
from learners.update.fsdp import Ranks
from learners.update.learner import LocalLearner
from learners.update.updater import ALONE, Updater

LONGEST = 200
"""Bytes of a role's name: names of files have at most 255, and some more are added."""


def assemble(config: RunConfig, runtime: Runtime) -> Parts:
    """Builds all parts in this process; raises as ``Runtime.assemble``."""
    scenario = build_scenario(config)
    coach = build_judge(config)
    algorithm = build_algorithm(config)
    owners = policy_names(config, scenario)
    trains = generator_class(config).trains
    with closed_on_error() as opened:
        backend = conf.build("sandbox", config.sandbox)
        opened.callback(backend.close)
        check_scenario(scenario, backend)  # before a model is loaded
        weights = load_weights(config, scenario, reference=algorithm.needs_reference) if trains else {}
        policies = weights if trains else unique(owners)
        generator: Generator = conf.build("learners.generators", config.generator, policies=policies)
        opened.callback(generator.close)
        known = {
            name: Policy(name, generator, build_learner(config, weights[name]) if trains else None)
            for name in unique(owners)
        }
        team = {agent: known[owner] for agent, owner in owners.items()}
        worker = LocalRolloutWorker(scenario, backend, coach, team, deferred=config.rollout.deferred)
        return Parts(scenario, worker, coach, team, generator, algorithm, runtime)


def generator_class(config: RunConfig) -> type[Generator]:
    """Returns the class of the generator, whose ``trains`` and ``lockstep`` are known before it is built."""
    return _declaring("generators", config.generator.name, "trains", "lockstep")


def weights_class(config: RunConfig) -> type[WeightsKind]:
    """Returns the class of the weights plug-in, whose ``shares_base`` is known before it is built."""
    return _declaring("weights", config.weights.name, "shares_base")


def _declaring(group: str, name: str, *capabilities: str) -> type[Any]:
    cls = conf.plugin_class(f"learners.{group}", name)
    for capability in capabilities:
        if not isinstance(getattr(cls, capability, None), bool):
            raise ConfigError(
                f"{group} {name}: the class {cls.__name__} must set {capability} to True or False "
                "(see learners/base.py)"
            )
    return cls


def build_scenario(config: RunConfig) -> Scenario:
    """Builds the environment's roles, tasks and grader.

    Raises:
        ConfigError: it has no tasks to train on, or none to evaluate on.
    """
    scenario: Scenario = conf.build("envs", config.env)
    for split in ("train", "heldout"):
        if not scenario.tasks(split):
            raise ConfigError(f"env {scenario.name} has no {split} tasks")
    return scenario


def build_algorithm(config: RunConfig) -> Algorithm:
    """Builds the algorithm.

    Raises:
        ConfigError: its settings are invalid, or it lacks a member of ``Algorithm``.
    """
    algorithm: Algorithm = conf.build("learners", config.algorithm)
    contract.check_members(algorithm)
    return algorithm


def policy_names(config: RunConfig, scenario: Scenario) -> dict[str, str]:
    """Returns the name of each agent's policy, by agent.

    Raises:
        ConfigError: an agent's name cannot be that of a file, or of a metric, where ``/`` separates names.
    """
    for role in scenario.roles:
        if (
            role.name in ("", ".", "..")
            or {"/", "\0"} & set(role.name)
            or len(role.name.encode(errors="replace")) > LONGEST
        ):
            raise ConfigError(f"env {scenario.name}: a role cannot be called {role.name!r}: it names files")
    shared = config.policies == "shared"
    return {role.name: "shared" if shared else role.name for role in scenario.roles}


def unique(owners: Mapping[str, str]) -> list[str]:
    """Returns the names of the policies, each once."""
    return list(dict.fromkeys(owners.values()))


def load_weights(
    config: RunConfig, scenario: Scenario, *, reference: bool, names: Sequence[str] | None = None
) -> Mapping[str, Weights]:
    """Loads the initial weights of the policies in ``names``; None: of all.

    Raises:
        ConfigError: the model is not available, or a setting is invalid.
    """
    wanted = unique(policy_names(config, scenario)) if names is None else names
    if resolve_device(config.model.device) == "cpu":
        allocator.prepare()
    model = conf.build("learners.models", config.model)
    weights: WeightsKind = conf.build("learners.weights", config.weights)
    return weights.load(model, wanted, scenario.name, config.seed, reference=reference)


def build_learner(config: RunConfig, weights: Weights, ranks: Ranks = ALONE) -> LocalLearner:
    """Builds what trains ``weights``; ``ranks``: the processes that share each update."""
    seed = derive_seed(config.seed, "updates", weights.name)
    return LocalLearner(weights, Updater(weights, steps=config.steps, seed=seed, ranks=ranks))

"""Names -> objects: builds each part that a configuration names, for every runtime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import conf
from conf import ConfigError
from envs.base import Scenario
from envs.sizes import check_scenario
from learners.algorithms import members
from learners.base import Algorithm, Generator, Weights, WeightsKind
from learners.config import RunConfig
from learners.generators.team import combined
from learners.models.base import resolve_device
from learners.policy import Policy
from learners.rollout.worker import LocalRolloutWorker
from learners.runtimes.base import Parts, Runtime, closed_on_error
from learners.runtimes.judge import build_judge
from learners.runtimes.team import PolicySpec, Team, alike, team_of, told_tokens
from learners.seeds import derive_seed
from learners.update import allocator
from learners.update.fsdp import Ranks
from learners.update.learner import LocalLearner
from learners.update.updater import ALONE, Updater


def assemble(config: RunConfig, runtime: Runtime) -> Parts:
    """Builds all parts in this process; raises as ``Runtime.assemble``."""
    scenario = build_scenario(config)
    coach = build_judge(config)
    algorithm = build_algorithm(config)
    team = team_of(config, scenario)
    with closed_on_error() as opened:
        backend = conf.build("sandbox", config.sandbox)
        opened.callback(backend.close)
        check_scenario(scenario, backend)  # before a model is loaded
        hosted = build_hosted(team, opened)
        own, learners = None, dict[str, LocalLearner]()
        if team.local:
            weights = load_weights(config, scenario, team.local, reference=algorithm.needs_reference)
            own = conf.build("learners.generators", config.generator, policies=weights)
            opened.callback(own.close)
            learners = {
                one.name: build_learner(config, weights[one.name]) for one in team.local if one.learns
            }
        generator = combined(own, hosted)
        known = {name: Policy(name, generator, learners.get(name)) for name in team.policies}
        playing = {agent: known[owner] for agent, owner in team.owners.items()}
        told = told_tokens(config, scenario, team)
        worker = LocalRolloutWorker(
            scenario, backend, coach, playing, deferred=config.rollout.deferred, told_tokens=told
        )
        return Parts(scenario, worker, coach, playing, generator, algorithm, runtime)


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
    members.check_members(algorithm)
    return algorithm


def load_weights(
    config: RunConfig,
    scenario: Scenario,
    policies: Sequence[PolicySpec],
    *,
    reference: bool,
) -> dict[str, Weights]:
    """Loads the initial weights of ``policies``, in their order. ``reference``: of those that learn.

    Raises:
        ConfigError: the model is not available, or a setting is invalid.
    """
    if any(resolve_device(one.model.device) == "cpu" for one in policies if one.model is not None):
        allocator.prepare()
    weights: WeightsKind = conf.build("learners.weights", config.weights)
    loaded: dict[str, Weights] = {}
    for group in alike(policies, lambda one: (one.model, one.learns or weights.shares_base)):
        assert group[0].model is not None
        model, names = conf.build("learners.models", group[0].model), [one.name for one in group]
        kept = reference and any(one.learns for one in group)
        loaded |= weights.load(model, names, scenario.name, config.seed, reference=kept)
    return {one.name: loaded[one.name] for one in policies}


def build_hosted(team: Team, opened: ExitStack) -> dict[str, Generator]:
    """Builds the generators of policies without weights, by policy; ``opened`` closes them.

    Raises:
        ConfigError: one cannot be reached.
    """
    hosted: dict[str, Generator] = {}
    for node, names in team.hosted():
        generator: Generator = conf.build("learners.generators", node, policies=names)
        opened.callback(generator.close)
        hosted |= dict.fromkeys(names, generator)
    return hosted


def build_learner(config: RunConfig, weights: Weights, ranks: Ranks = ALONE) -> LocalLearner:
    """Builds what trains ``weights``; ``ranks``: the processes that share each update."""
    seed = derive_seed(config.seed, "updates", weights.name)
    return LocalLearner(weights, Updater(weights, steps=config.steps, seed=seed, ranks=ranks))

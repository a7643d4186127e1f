"""Assembles a run whose parts are each in a process of their own: the same classes as in one process.

    driver           the trainer's loop, task sampling, advantages, records
    rank             trains a group of policies; ``runtime.ranks`` of them share each update
    engine           samples from a copy of a group's weights; ``runtime.engines`` of them per group
    batch barrier    only for generators that sample from the trained weights in place: batches requests
    rollout worker   plays episodes, in sandboxes of its own; ``runtime.rollout_workers`` of them
    coach            the one coach

With ``weights=adapter`` all policies are one group, as they share a base; with full weights each is its own.

Who calls whom while episodes are played, with engines (left) and with a barrier (right)::

    driver -> rollout worker -> engine             driver -> rollout worker -> batch barrier -> rank
                     \\-> coach                                       \\-> coach

While policies learn, the driver calls all ranks of a group at once (``update``), and these exchange gradients
through torch.distributed. Then it calls ``sync`` on every engine, which asks the ranks for the new weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import conf
from conf import ConfigError
from learners.base import Generator
from learners.config import RunConfig
from learners.policy import Policy
from learners.runtimes.base import Parts, Runtime
from learners.runtimes.distributed.base import Cluster, Handle, Placement
from learners.runtimes.distributed.coach import CoachHost, CoachTraits, remote_coach
from learners.runtimes.distributed.engines import BarrierGenerator, BatchBarrier, RemoteEngines
from learners.runtimes.distributed.placement import PlacementPlan, Resources
from learners.runtimes.distributed.ranks import Rank, RankGroup, RemoteLearner, RemoteSource
from learners.runtimes.distributed.rollout_workers import RolloutWorkerPool, make_rollout_worker
from learners.runtimes.parts import (
    build_algorithm,
    build_scenario,
    generator_class,
    policy_names,
    unique,
    weights_class,
)

ANYWHERE = Placement(None, 0.0, 0.0)
SPARE_CALLS = 4
"""Calls that a process accepts beyond one for each episode under way."""


@dataclass(frozen=True)
class Processes:
    """The processes that policies need."""

    ranks: Mapping[str, RankGroup]
    """By policy."""
    barrier: Handle | None
    generator: Callable[[str], Generator]
    """The generator for a process, by the name of the process."""


def assemble(config: RunConfig, runtime: Runtime, cluster: Cluster) -> tuple[Parts, Handle | None]:
    """Builds all parts of a run. Raises as ``Runtime.assemble``.

    Returns:
        The parts, and the batch barrier where there is one.
    """
    if not generator_class(config).trains:
        raise ConfigError(
            f"generator={config.generator.name} has no weights to distribute: set runtime=local"
        )
    # Cheap parts first: settings are checked, and resources are reserved, before any model is loaded.
    scenario, algorithm = build_scenario(config), build_algorithm(config)
    owners = policy_names(config, scenario)
    groups = _groups(config, unique(owners))
    plan = _plan(config, len(groups))
    cluster.reserve(plan.bundles())
    threads = config.rollout.concurrency + SPARE_CALLS
    coach = cluster.spawn(CoachHost, config, name="coach", placement=ANYWHERE, threads=4 * threads)
    traits: CoachTraits = coach.call("traits")
    # Ranks load the weights, engines copy them; rollout workers come last, as they need a generator.
    processes = _start_processes(config, cluster, groups, plan)
    workers = _start_rollout_workers(config, cluster, owners, coach, traits, processes)
    generator = processes.generator("driver")
    policies = {
        name: Policy(name, generator, RemoteLearner(name, ranks)) for name, ranks in processes.ranks.items()
    }
    team = {agent: policies[owner] for agent, owner in owners.items()}
    judge = remote_coach(coach, traits)
    return Parts(scenario, workers, judge, team, generator, algorithm, runtime), processes.barrier


def _start_rollout_workers(
    config: RunConfig,
    cluster: Cluster,
    owners: Mapping[str, str],
    coach: Handle,
    traits: CoachTraits,
    processes: Processes,
) -> RolloutWorkerPool:
    def spawn(name: str) -> Handle:
        return cluster.spawn(
            make_rollout_worker,
            *(config, owners, coach, traits, processes.generator(name)),
            name=name,
            placement=Placement(None, config.runtime.rollout_worker_cpus, 0.0),
            threads=config.rollout.concurrency + SPARE_CALLS,
            deadline=config.runtime.episode_timeout,
        )

    def cancel(name: str) -> None:
        if processes.barrier is not None:
            processes.barrier.call("cancel", name)

    return RolloutWorkerPool(
        spawn,
        config.runtime.rollout_workers,
        episode_retries=config.runtime.episode_retries,
        on_lost=cancel,
    )


def _groups(config: RunConfig, names: list[str]) -> list[list[str]]:
    """The policies that are trained by the same processes."""
    return [names] if weights_class(config).shares_base else [[name] for name in names]


def _plan(config: RunConfig, groups: int) -> PlacementPlan:
    runtime, in_place = config.runtime, generator_class(config).lockstep
    for key in ("rollout_workers", "ranks", "engines"):
        if runtime[key] < 1:
            raise ConfigError(f"runtime.{key} must be at least 1, not {runtime[key]}")
    if in_place and runtime.ranks > 1:
        raise ConfigError(
            f"generator={config.generator.name} samples from whole weights in place: it needs runtime.ranks=1"
        )
    return PlacementPlan(
        groups=groups,
        ranks=runtime.ranks,
        engines=0 if in_place else runtime.engines,
        rank=Resources(runtime.learner_cpus, runtime.learner_gpus),
        engine=Resources(runtime.engine_cpus, runtime.engine_gpus),
    )


def _start_processes(
    config: RunConfig, cluster: Cluster, groups: Sequence[Sequence[str]], plan: PlacementPlan
) -> Processes:
    ranks: dict[str, RankGroup] = {}
    engines: dict[str, list[Handle]] = {}

    def start(number: int) -> None:
        group, sources = _start_ranks(config, cluster, groups[number], number, plan)
        ranks.update(dict.fromkeys(groups[number], group))
        copies = [
            _start_engine(config, cluster, sources, number, index, plan) for index in range(plan.engines)
        ]
        engines.update(dict.fromkeys(groups[number], copies))

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, range(len(groups))))
    ranks = {name: ranks[name] for group in groups for name in group}  # in the order of play
    if plan.engines:
        return Processes(ranks, None, lambda _: RemoteEngines(engines, cluster.gather))
    first = {name: group.handles[0] for name, group in ranks.items()}
    threads = 2 * (config.rollout.concurrency + SPARE_CALLS)
    barrier = cluster.spawn(BatchBarrier, first, name="batch barrier", placement=ANYWHERE, threads=threads)
    return Processes(ranks, barrier, lambda name: BarrierGenerator(barrier, first, name))


def _start_ranks(
    config: RunConfig, cluster: Cluster, names: Sequence[str], number: int, plan: PlacementPlan
) -> tuple[RankGroup, dict[str, RemoteSource]]:
    """Starts the processes that train a group. Returns them, and the group's weights as engines see them."""
    handles = [
        cluster.spawn(
            Rank,
            *(config, names, index, plan.ranks),
            name=f"learner {number}.{index}",
            placement=plan.of_rank(number, index),
        )
        for index in range(plan.ranks)
    ]
    group = RankGroup(handles, cluster.gather)
    loaded: dict[str, tuple[bool, Any]] = group.call("load", handles[0].address())
    sources = {
        name: RemoteSource(name, adapter, settings, group) for name, (adapter, settings) in loaded.items()
    }
    return group, sources


def _start_engine(
    config: RunConfig,
    cluster: Cluster,
    sources: Mapping[str, RemoteSource],
    number: int,
    index: int,
    plan: PlacementPlan,
) -> Handle:
    return cluster.spawn(
        partial(conf.build, policies=sources),
        *("learners.generators", config.generator),
        name=f"engine {number}.{index}",
        placement=plan.of_engine(number, index),
        threads=config.rollout.concurrency + SPARE_CALLS,
    )

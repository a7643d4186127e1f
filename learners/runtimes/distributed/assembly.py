"""Assembles a run whose parts are each in a process of their own: the same classes as in one process.

    driver           the trainer's loop, task sampling, advantages, records
    rank             trains a group of policies; ``runtime.ranks`` of them share each update
    engine           samples from a copy of a group's weights; ``runtime.engines`` of them per group
    hosted           asks a server, for policies without weights; one per generator that agents have for that
    batch barrier    only for generators that sample from the trained weights in place: batches requests
    rollout worker   plays episodes, in sandboxes of its own; ``runtime.rollout_workers`` of them
    coach            the one coach

With ``weights=adapter`` policies of one model are one group, as they share a base; with full weights each
policy is its own group. A policy that does not learn has ranks too, which keep its weights and nothing more.

Who calls whom while episodes are played, with engines (left) and with a barrier (right)::

    driver -> rollout worker -> engine             driver -> rollout worker -> batch barrier -> rank
                     \\-> coach                                       \\-> coach

While policies learn, the driver calls all ranks of a group at once (``update``), and these exchange gradients
through torch.distributed; each rank gets the arrays of its own rows. Then it calls ``sync`` on every engine,
which asks the ranks for the new weights. The first rank writes them to shared memory once, and every engine
of its machine reads them there; on another machine the first engine fetches a copy for all engines of it.
When the last engine has them, the files are removed. An engine on a GPU that a rank has too may map whole
weights there instead (``learners.generators.vllm.transfer``).
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
from learners.generators.team import combined
from learners.policy import Policy
from learners.runtimes.base import Parts, Runtime
from learners.runtimes.capabilities import generator_class, weights_class
from learners.runtimes.distributed.base import Cluster, Handle, Placement
from learners.runtimes.distributed.coach import CoachHost, CoachTraits, remote_coach
from learners.runtimes.distributed.engines import BarrierGenerator, BatchBarrier, EngineHost, RemoteEngines
from learners.runtimes.distributed.placement import PlacementPlan, Resources
from learners.runtimes.distributed.ranks import Rank, RankGroup, RemoteLearner, RemoteSource
from learners.runtimes.distributed.rollout_workers import RolloutWorkerPool, make_rollout_worker
from learners.runtimes.parts import build_algorithm, build_scenario
from learners.runtimes.team import Team, alike, team_of, told_tokens

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
    """The generator of policies with weights for a process, by the name of the process."""
    hosted: Mapping[str, Generator]
    """The generator of each policy without weights."""

    def all_generators(self, process: str) -> Generator:
        """Returns one generator of all policies for the process of this name."""
        return combined(self.generator(process), self.hosted)


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
    team = team_of(config, scenario)
    if not team.local:
        raise ConfigError("every agent is hosted, and there are no weights to distribute: set runtime=local")
    groups = _groups(config, team)
    plan = _plan(config, len(groups))
    cluster.reserve(plan.bundles())
    threads = config.rollout.concurrency + SPARE_CALLS
    coach = cluster.spawn(CoachHost, config, name="coach", placement=ANYWHERE, threads=4 * threads)
    traits: CoachTraits = coach.call("traits")
    # Ranks load the weights, engines copy them; rollout workers come last, as they need a generator.
    processes = _start_processes(config, cluster, groups, plan, _start_hosted(config, cluster, team))
    playing = (team.owners, told_tokens(config, scenario, team))
    workers = _start_rollout_workers(config, cluster, playing, coach, traits, processes)
    generator = processes.all_generators("driver")
    policies = {
        name: Policy(name, generator, RemoteLearner(name, processes.ranks[name]) if one.learns else None)
        for name, one in team.policies.items()
    }
    players = {agent: policies[owner] for agent, owner in team.owners.items()}
    judge = remote_coach(coach, traits)
    return Parts(scenario, workers, judge, players, generator, algorithm, runtime), processes.barrier


def _start_rollout_workers(
    config: RunConfig,
    cluster: Cluster,
    playing: tuple[Mapping[str, str], Mapping[str, int | None] | None],
    coach: Handle,
    traits: CoachTraits,
    processes: Processes,
) -> RolloutWorkerPool:
    def spawn(name: str) -> Handle:
        return cluster.spawn(
            make_rollout_worker,
            *(config, *playing, coach, traits, processes.all_generators(name)),
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


def _groups(config: RunConfig, team: Team) -> list[list[str]]:
    """The policies whose weights are in the same processes."""
    if not weights_class(config).shares_base:
        return [[policy.name] for policy in team.local]
    return [[policy.name for policy in same] for same in alike(team.local, lambda policy: policy.model)]


def _start_hosted(config: RunConfig, cluster: Cluster, team: Team) -> dict[str, Generator]:
    """Starts a process for each generator of policies without weights; returns that of each policy."""
    hosted: dict[str, Generator] = {}
    for number, (node, names) in enumerate(team.hosted()):
        handle = cluster.spawn(
            partial(conf.build, policies=names),
            *("learners.generators", node),
            name=f"hosted {number}",
            placement=ANYWHERE,
            threads=config.rollout.concurrency + SPARE_CALLS,
        )
        engines = RemoteEngines({one: [handle] for one in names}, cluster.gather)
        hosted |= dict.fromkeys(names, engines)
    return hosted


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
    config: RunConfig,
    cluster: Cluster,
    groups: Sequence[Sequence[str]],
    plan: PlacementPlan,
    hosted: Mapping[str, Generator],
) -> Processes:
    ranks: dict[str, RankGroup] = {}
    engines: dict[str, list[Handle]] = {}

    def start(number: int) -> None:
        group, sources = _start_ranks(config, cluster, groups[number], number, plan)
        ranks.update(dict.fromkeys(groups[number], group))
        copies = [
            _start_engine(config, cluster, sources, number, index, plan) for index in range(plan.engines)
        ]
        group.call("release")  # the base, which all have loaded
        engines.update(dict.fromkeys(groups[number], copies))

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, range(len(groups))))
    ranks = {name: ranks[name] for group in groups for name in group}  # in the order of play
    if plan.engines:
        return Processes(ranks, None, lambda _: RemoteEngines(engines, cluster.gather, ranks), hosted)
    first = {name: group.handles[0] for name, group in ranks.items()}
    threads = 2 * (config.rollout.concurrency + SPARE_CALLS)
    barrier = cluster.spawn(BatchBarrier, first, name="batch barrier", placement=ANYWHERE, threads=threads)
    return Processes(ranks, barrier, lambda name: BarrierGenerator(barrier, first, name), hosted)


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
        EngineHost,
        *(config.generator, sources),
        name=f"engine {number}.{index}",
        placement=plan.of_engine(number, index),
        threads=config.rollout.concurrency + SPARE_CALLS,
    )

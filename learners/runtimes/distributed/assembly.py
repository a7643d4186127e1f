"""A run's parts, each in a process of its own: the same classes as in one process, and what reaches them.

    driver       the trainer's loop, tasks, advantages, records
    rank         trains a group of policies; ``runtime.ranks`` of them share each update
    engine       samples from a copy of a group's weights; ``runtime.engines`` of them
    meeting      for generators that sample from the trained weights in place: where requests become batches
    player       plays episodes, in sandboxes of its own; ``runtime.players`` of them
    coach        the one coach

With ``weights=adapter`` all policies are one group, as they share a base; with full weights each is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import conf
from conf import ConfigError
from learners.base import Generator, Runtime
from learners.config import RunConfig
from learners.run.build import Parts, build_algorithm, build_owners, build_scenario, can_train, unique
from learners.runtimes.distributed.base import Cluster, Handle, Place
from learners.runtimes.distributed.engines import Meeting, MeetingGenerator, RemoteEngines
from learners.runtimes.distributed.placement import Need, Places
from learners.runtimes.distributed.players import (
    CoachHost,
    CoachTraits,
    RemotePlayers,
    make_player,
    remote_coach,
)
from learners.runtimes.distributed.ranks import Rank, Ranked, RemoteLearner, RemoteSource
from learners.update.policy import LearningPolicy

ANYWHERE = Place(None, 0.0, 0.0)
MARGIN = 4
"""Calls that a process takes beyond one for each episode under way."""


@dataclass(frozen=True)
class Cast:
    """The processes of a run that policies need."""

    ranks: Mapping[str, Ranked]
    """By policy."""
    meeting: Handle | None
    generator: Callable[[str], Generator]
    """What the process of a name samples with."""


def assemble(config: RunConfig, runtime: Runtime, cluster: Cluster) -> tuple[Parts, Cast]:
    """All parts of a run. Raises as ``learners.run.build.build``."""
    if not can_train(config):
        raise ConfigError(f"generator={config.generator.name} has no weights to spread: set runtime=local")
    scenario, algorithm = build_scenario(config), build_algorithm(config)
    owners = build_owners(config, scenario)
    groups = _groups(config, unique(owners))
    places = _places(config, len(groups))
    cluster.reserve(places.bundles())
    threads = config.rollout.concurrency + MARGIN
    coach = cluster.spawn(CoachHost, config, name="coach", place=ANYWHERE, threads=4 * threads)
    traits: CoachTraits = coach.call("traits")
    cast = _cast(config, cluster, groups, places)

    def spawn(name: str) -> Handle:
        parts = (config, owners, coach, traits, cast.generator(name))
        place = Place(None, config.runtime.player_cpus, 0.0)
        return cluster.spawn(
            make_player, *parts, name=name, place=place, threads=threads, deadline=config.runtime.episode
        )

    def drop(name: str) -> None:
        if cast.meeting is not None:
            cast.meeting.call("drop", name)

    player = RemotePlayers(spawn, config.runtime.players, replays=config.runtime.replays, drop=drop)
    generator = cast.generator("driver")
    policies = {
        name: LearningPolicy(name, RemoteLearner(name, ranks), generator)
        for name, ranks in cast.ranks.items()
    }
    team = {agent: policies[owner] for agent, owner in owners.items()}
    judge = remote_coach(coach, traits)
    return Parts(scenario, player, judge, team, generator, algorithm, runtime), cast


def _groups(config: RunConfig, names: list[str]) -> list[list[str]]:
    shared = conf.plugin_class("learners.weights", config.weights.name).shares_base
    return [names] if shared else [[name] for name in names]


def _places(config: RunConfig, groups: int) -> Places:
    runtime = config.runtime
    for key in ("players", "ranks", "engines"):
        if runtime[key] < 1:
            raise ConfigError(f"runtime.{key} must be at least 1, not {runtime[key]}")
    in_place = _in_place(config)
    if in_place and runtime.ranks > 1:
        raise ConfigError(
            f"generator={config.generator.name} samples from whole weights in place: it needs runtime.ranks=1"
        )
    return Places(
        groups=groups,
        ranks=runtime.ranks,
        engines=0 if in_place else runtime.engines,
        rank=Need(runtime.learner_cpus, runtime.learner_gpus),
        engine=Need(runtime.engine_cpus, runtime.engine_gpus),
    )


def _in_place(config: RunConfig) -> bool:
    return bool(conf.plugin_class("learners.generators", config.generator.name).lockstep)


def _cast(config: RunConfig, cluster: Cluster, groups: Sequence[Sequence[str]], places: Places) -> Cast:
    ranks: dict[str, Ranked] = {}
    engines: dict[str, list[Handle]] = {}

    def start(number: int) -> None:
        group, sources = _ranks(config, cluster, groups[number], number, places)
        ranks.update(dict.fromkeys(groups[number], group))
        copies = [_engine(config, cluster, sources, number, index, places) for index in range(places.engines)]
        engines.update(dict.fromkeys(groups[number], copies))

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, range(len(groups))))
    ranks = {name: ranks[name] for group in groups for name in group}
    if places.engines:
        return Cast(ranks, None, lambda _: RemoteEngines(engines, cluster.gather))
    first = {name: group.handles[0] for name, group in ranks.items()}
    threads = 2 * (config.rollout.concurrency + MARGIN)
    meeting = cluster.spawn(Meeting, first, name="meeting", place=ANYWHERE, threads=threads)
    return Cast(ranks, meeting, lambda name: MeetingGenerator(meeting, first, name))


def _ranks(
    config: RunConfig, cluster: Cluster, names: Sequence[str], number: int, places: Places
) -> tuple[Ranked, dict[str, RemoteSource]]:
    """The processes that train a group, and its weights as its engines see them."""
    handles = [
        cluster.spawn(
            Rank,
            *(config, names, index, places.ranks),
            name=f"learner {number}.{index}",
            place=places.of_rank(number, index),
        )
        for index in range(places.ranks)
    ]
    ranked = Ranked(handles, cluster.gather)
    facts: dict[str, tuple[bool, Any]] = ranked.all("load", handles[0].address())
    sources = {
        name: RemoteSource(name, adapter, settings, ranked) for name, (adapter, settings) in facts.items()
    }
    return ranked, sources


def _engine(
    config: RunConfig,
    cluster: Cluster,
    sources: Mapping[str, RemoteSource],
    number: int,
    index: int,
    places: Places,
) -> Handle:
    return cluster.spawn(
        partial(conf.build, policies=sources),
        *("learners.generators", config.generator),
        name=f"engine {number}.{index}",
        place=places.of_engine(number, index),
        threads=config.rollout.concurrency + MARGIN,
    )

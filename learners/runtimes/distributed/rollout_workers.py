"""The processes that play episodes. torch is not loaded here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import cast

import conf
from learners.base import Generator
from learners.config import RunConfig
from learners.errors import EpisodeError, LostError
from learners.policy import Policy
from learners.rollout.worker import LocalRolloutWorker
from learners.runtimes.distributed.base import CLOSING, Handle
from learners.runtimes.distributed.coach import CoachTraits, remote_coach
from learners.types import Assignment, Isolation, Rollout


def make_rollout_worker(
    config: RunConfig,
    owners: Mapping[str, str],
    told_tokens: Mapping[str, int | None] | None,
    coach: Handle,
    traits: CoachTraits,
    generator: Generator,
) -> LocalRolloutWorker:
    """Builds a worker with its own environment and sandboxes; coach and generator are in other processes.

    Args:
        config: of the run.
        owners: name of the policy of each agent.
        told_tokens: see ``LocalRolloutWorker``.
        coach: the process of the coach.
        traits: of the coach.
        generator: of all policies.
    """
    return LocalRolloutWorker(
        conf.build("envs", config.env),
        conf.build("sandbox", config.sandbox),
        remote_coach(coach, traits),
        {agent: Policy(owner, generator) for agent, owner in owners.items()},
        deferred=config.rollout.deferred,
        told_tokens=told_tokens,
    )


class RolloutWorkerPool:
    """A ``learners.base.RolloutWorker`` made of several processes.

    A process that is lost is replaced, and its episodes are played again from the start, ``episode_retries``
    times at most.
    """

    def __init__(
        self,
        spawn: Callable[[str], Handle],
        count: int,
        *,
        episode_retries: int,
        on_lost: Callable[[str], None],
    ) -> None:
        """``spawn(name)`` starts a process; ``on_lost(name)`` is called for each that was lost."""
        self._spawn = spawn
        self._episode_retries = episode_retries
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._spawned = count
        names = [_name(number) for number in range(count)]
        with ThreadPoolExecutor() as pool:
            self._handles = dict(zip(names, pool.map(spawn, names), strict=True))
        self._busy: Counter[str] = Counter()

    def play(self, assignment: Assignment, *, coached: bool) -> Rollout:
        """Plays one episode, in the process with the fewest episodes.

        Raises:
            EpisodeError: every process that tried it was lost.
            LostError: another process was lost, which all episodes need.
            Exception: what playing raised.
        """
        for _ in range(1 + self._episode_retries):
            worker = self._least_busy()
            try:
                return cast(Rollout, worker.call("play", assignment, coached=coached))
            except LostError as error:
                if error.process != worker.name:
                    raise
                lost = error
                self._replace(worker)
            finally:
                with self._lock:
                    self._busy[worker.name] -= 1
        raise EpisodeError(str(lost))

    def isolation(self) -> Isolation:
        return cast(Isolation, next(iter(self._handles.values())).call("isolation"))

    def close(self) -> None:
        for closing in [worker.start("close") for worker in self._handles.values()]:
            with suppress(LostError):  # a lost or hanging process is killed anyway
                closing.wait(CLOSING)

    @property
    def handles(self) -> tuple[Handle, ...]:
        """The current processes."""
        return tuple(self._handles.values())

    def _least_busy(self) -> Handle:
        with self._lock:
            name = min(self._handles, key=lambda name: self._busy[name])
            self._busy[name] += 1
            return self._handles[name]

    def _replace(self, worker: Handle) -> None:
        """Kills ``worker``, which may be alive but late, and starts another in its place; once per worker."""
        with self._lock:
            if worker.name not in self._handles:
                return
            worker.kill()
            self._on_lost(worker.name)
            name = _name(self._spawned)
            self._spawned += 1
            self._handles[name] = self._spawn(name)
            del self._handles[worker.name]


def _name(number: int) -> str:
    return f"rollout worker {number}"

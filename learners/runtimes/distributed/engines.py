"""How a process reaches the generator where that lives in other processes. torch is not loaded here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from omegaconf import DictConfig

import conf
from envs.types import Message
from learners.base import Generator, Source
from learners.errors import LostError
from learners.rollout.lockstep import Lockstep
from learners.runtimes.distributed.base import CLOSING, Handle, Pending
from learners.types import Completion, GenerationRequest

Gather = Callable[[Sequence[Pending]], list[Any]]


class Lender(Protocol):
    """The processes that have the weights of a policy."""

    def call(self, method: str, *args: Any) -> Any:
        """Calls a method of each."""
        ...


class LentSource(Source, Protocol):
    """A ``Source`` that may have to copy what is lent to it."""

    def release(self) -> None:
        """Removes these copies."""
        ...


class RemoteEngines:
    """A ``learners.base.Generator`` with copies in other processes: one or more ``engines`` per policy.

    An episode keeps to one copy, so that its earlier turns are in that copy's prefix cache.
    """

    trains = True
    lockstep = False

    def __init__(
        self,
        engines: Mapping[str, Sequence[Handle]],
        gather: Gather,
        lenders: Mapping[str, Lender] | None = None,
    ) -> None:
        """
        Args:
            engines: the copies of each policy.
            gather: see ``Cluster.gather``.
            lenders: of each policy, the processes that lend its weights to ``EngineHost``s; None: of none.
        """
        self._engines = engines
        self._gather = gather
        self._lenders = lenders or {}

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        copies = self._engines[policy]
        completion: Completion = copies[order % len(copies)].call(
            "generate", policy, messages, seed=seed, order=order, temperature=temperature
        )
        return completion

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """Updates one copy after the other: each asks all ranks for the weights, and ranks answer one
        question at a time, all in the same order. The first that asks has them written for all."""
        moved: Counter[str] = Counter()
        for engine in self._engines[policy]:
            moved.update(engine.call("sync", policy, version))
        for engine in self._engines[policy]:
            engine.call("release")
        self._lenders[policy].call("release")
        return moved

    def sleep(self) -> None:
        self._gather(self._start_on_all("sleep"))

    def wake(self) -> None:
        self._gather(self._start_on_all("wake"))

    def close(self) -> None:
        for closing in self._start_on_all("close"):
            with suppress(LostError):  # a lost or hanging process is killed anyway
                closing.wait(CLOSING)

    def _start_on_all(self, method: str) -> list[Pending]:
        handles = {engine.name: engine for copies in self._engines.values() for engine in copies}
        return [engine.start(method) for engine in handles.values()]


class EngineHost:
    """A copy of the generator in a process of its own, and the weights that it may need a copy of."""

    def __init__(self, node: DictConfig, sources: Mapping[str, LentSource]) -> None:
        """``sources``: of every policy. Raises as the generator's constructor."""
        self._sources = sources
        self._generator: Generator = conf.build("learners.generators", node, policies=sources)
        self.generate, self.sync = self._generator.generate, self._generator.sync
        self.sleep, self.wake, self.close = self._generator.sleep, self._generator.wake, self._generator.close

    def release(self) -> None:
        """Removes copies of weights that were made for all engines of this machine."""
        for source in self._sources.values():
            source.release()


class BatchBarrier:
    """Batches the requests of all rollout workers, for a generator that lives with the trained weights.

    It has a process of its own (see ``learners.rollout.lockstep``): a round is complete when *every* episode
    of the wave has asked or ended, whichever policy it asks and whichever process it is played in. Rounds of
    several waves may run at once: a rank answers one call at a time.
    """

    def __init__(self, ranks: Mapping[str, Handle]) -> None:
        """``ranks``: by policy, the process that samples from its weights."""
        self._ranks = ranks
        self._sessions: dict[int, Lockstep] = {}
        """By the number of an episode: that of its wave."""

    def start_wave(self, episodes: Sequence[int]) -> None:
        """Opens a session for a wave of episodes, given by their numbers."""
        self._sessions |= dict.fromkeys(episodes, Lockstep(len(episodes)))

    def leave(self, episode: int) -> None:
        """The episode ended."""
        self._sessions[episode].leave()

    def abort(self, episode: int) -> None:
        """Aborts the wave of an episode: see ``Lockstep.abort``."""
        self._sessions[episode].abort()

    def cancel(self, caller: str) -> None:
        """See ``Lockstep.cancel``."""
        for session in set(self._sessions.values()):
            session.cancel(caller)

    def generate(self, policy: str, request: GenerationRequest, order: int, caller: str) -> Completion:
        """See ``Generator.generate``; ``caller`` is the name of the process that asks."""

        def run(requests: Sequence[GenerationRequest]) -> list[Completion]:
            completions: list[Completion] = self._ranks[policy].call("batch", policy, requests)
            return completions

        return self._sessions[order].call(policy, (order, request.seed), request, run, caller)


class BarrierGenerator:
    """A ``learners.base.Generator`` that samples where weights are trained, through a ``BatchBarrier``."""

    trains = True
    lockstep = True

    def __init__(self, barrier: Handle, ranks: Mapping[str, Handle], caller: str) -> None:
        """``caller``: name of the process that this generator is in."""
        self._barrier = barrier
        self._ranks = ranks
        self._caller = caller

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        request = GenerationRequest(messages, seed, temperature)
        completion: Completion = self._barrier.call("generate", policy, request, order, self._caller)
        return completion

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        moved: Mapping[str, int] = self._ranks[policy].call("sync", policy, version)
        return moved

    def sleep(self) -> None:
        """Nothing to free: there is one copy of the weights, and no cache between batches."""

    def wake(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Nothing runs between batches."""


class BarrierSession:
    """A ``learners.rollout.lockstep.Session`` of a wave whose episodes are played in other processes."""

    def __init__(self, barrier: Handle, episodes: Sequence[int]) -> None:
        """``episodes``: their numbers, at least one."""
        self._barrier = barrier
        self._episodes = episodes
        barrier.call("start_wave", episodes)

    @contextmanager
    def participant(self, number: int) -> Iterator[None]:
        try:
            yield
        finally:
            with suppress(LostError):  # the next request for a completion raises it
                self._barrier.call("leave", number)

    def abort(self) -> None:
        with suppress(LostError):
            self._barrier.call("abort", self._episodes[0])


def barrier_session(barrier: Handle) -> Callable[[Sequence[int]], BarrierSession]:
    """Returns what opens a session for a wave of episodes."""
    return partial(BarrierSession, barrier)

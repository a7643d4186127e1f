"""How a process reaches what samples for it, where that lives in another one. No torch is loaded here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from envs.types import Message
from learners.base import LostError
from learners.rollout.lockstep import Lockstep
from learners.runtimes.distributed.base import CLOSING, Handle, Pending
from learners.types import Completion, Request

Gather = Callable[[Sequence[Pending]], list[Any]]


class RemoteEngines:
    """A ``learners.base.Generator`` whose copies live in ``engines``: one or more for each policy.

    An episode keeps to one copy, which so finds its earlier turns in its prefix cache.
    """

    lockstep = False

    def __init__(self, engines: Mapping[str, Sequence[Handle]], gather: Gather) -> None:
        self._engines = engines
        self._gather = gather

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        copies = self._engines[policy]
        found: Completion = copies[order % len(copies)].call(
            "generate", policy, messages, seed=seed, order=order, temperature=temperature
        )
        return found

    def sync(self, policy: str, version: int) -> None:
        """One copy after the other: each asks all ranks for the weights, and these answer one question at a
        time, all in the same order."""
        for engine in self._engines[policy]:
            engine.call("sync", policy, version)

    def sleep(self) -> None:
        self._all("sleep")

    def wake(self) -> None:
        self._all("wake")

    def close(self) -> None:
        for closing in self._started("close"):
            with suppress(LostError):  # what is lost or hangs is ended anyway
                closing.wait(CLOSING)

    def _all(self, method: str) -> None:
        self._gather(self._started(method))

    def _started(self, method: str) -> list[Pending]:
        handles = {engine.name: engine for copies in self._engines.values() for engine in copies}
        return [engine.start(method) for engine in handles.values()]


class Meeting:
    """Where all players' requests meet (``learners.rollout.lockstep``), for a generator that lives with the weights.

    It has a process of its own: a batch is complete when *every* episode of the wave has asked or ended,
    whichever policy it asks and whichever process it is played in.
    """

    def __init__(self, ranks: Mapping[str, Handle]) -> None:
        """``ranks``: for each policy the process that samples from its weights."""
        self._ranks = ranks
        self._session = Lockstep(0)

    def begin(self, players: int) -> None:
        """A wave of ``players`` episodes begins."""
        self._session = Lockstep(players)

    def leave(self) -> None:
        self._session.leave()

    def abort(self) -> None:
        self._session.abort()

    def drop(self, caller: str) -> None:
        self._session.drop(caller)

    def generate(self, policy: str, request: Request, order: int, caller: str) -> Completion:
        """See ``Generator.generate``; ``caller`` is the process that asks."""

        def run(requests: Sequence[Request]) -> list[Completion]:
            found: list[Completion] = self._ranks[policy].call("batch", policy, requests)
            return found

        return self._session.call(policy, (order, request.seed), request, run, caller)


class MeetingGenerator:
    """A ``learners.base.Generator`` that samples where the weights are trained, by way of a ``Meeting``."""

    lockstep = True

    def __init__(self, meeting: Handle, ranks: Mapping[str, Handle], caller: str) -> None:
        self._meeting = meeting
        self._ranks = ranks
        self._caller = caller

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        request = Request(messages, seed, temperature)
        found: Completion = self._meeting.call("generate", policy, request, order, self._caller)
        return found

    def sync(self, policy: str, version: int) -> None:
        self._ranks[policy].call("sync", policy, version)

    def sleep(self) -> None:
        """There is one copy of the weights, and no cache between batches."""

    def wake(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Nothing runs between batches."""


class MeetingSession:
    """A ``learners.rollout.lockstep.Session`` of a wave whose episodes are played elsewhere."""

    def __init__(self, meeting: Handle, players: int) -> None:
        self._meeting = meeting
        meeting.call("begin", players)

    @contextmanager
    def player(self) -> Iterator[None]:
        try:
            yield
        finally:
            with suppress(LostError):  # whoever asks for a sample next will say so
                self._meeting.call("leave")

    def abort(self) -> None:
        with suppress(LostError):
            self._meeting.call("abort")


def session_of(meeting: Handle) -> Callable[[int], MeetingSession]:
    """What opens a session for a wave of so many episodes."""
    return partial(MeetingSession, meeting)

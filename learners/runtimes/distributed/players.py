"""The processes that play episodes, and the one that judges. No torch is loaded here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from omegaconf import DictConfig

import conf
from coaches.base import Coach, HindsightCoach
from learners.base import EpisodeError, Generator, LostError
from learners.rollout.episode import Assignment, Rollout
from learners.rollout.player import Isolation, LocalPlayer
from learners.runtimes.distributed.base import CLOSING, Handle
from learners.update.policy import ActingPolicy

COACH_METHODS = ("judge", "judge_episode", "learn", "state", "restore")


def make_player(
    config: DictConfig,
    owners: Mapping[str, str],
    coach: Handle,
    methods: tuple[str, ...],
    generator: Generator,
) -> LocalPlayer:
    """A player with an environment and sandboxes of its own; what judges and what samples live elsewhere."""
    return LocalPlayer(
        conf.build("envs", config.env),
        conf.build("sandbox", config.sandbox),
        remote_coach(coach, methods),
        {agent: ActingPolicy(owner, generator) for agent, owner in owners.items()},
        deferred=config.rollout.deferred,
    )


class CoachHost:
    """The one coach of a run: its limits of rate and money are the run's."""

    def __init__(self, config: DictConfig) -> None:
        coach = conf.build("coaches", config.coach)
        for method in COACH_METHODS:
            if hasattr(coach, method):
                setattr(self, method, getattr(coach, method))

    def methods(self) -> tuple[str, ...]:
        """Which of ``COACH_METHODS`` the coach has; what it can do is told from that."""
        return tuple(method for method in COACH_METHODS if hasattr(self, method))


def remote_coach(handle: Handle, methods: tuple[str, ...]) -> Coach | HindsightCoach:
    """The coach in the process of ``handle``, with the ``methods`` that it has and no other."""
    known: Any = SimpleNamespace(**{method: partial(handle.call, method) for method in methods})
    return cast("Coach | HindsightCoach", known)


class RemotePlayers:
    """A ``learners.base.Player`` made of several processes.

    One that is lost is replaced, and its episodes are played again from the start, ``replays`` times at most.
    """

    def __init__(
        self,
        spawn: Callable[[str], Handle],
        count: int,
        *,
        replays: int,
        drop: Callable[[str], None],
    ) -> None:
        """``spawn(name)`` starts a process; ``drop(name)`` is told of each that was lost."""
        self._spawn = spawn
        self._replays = replays
        self._drop = drop
        self._lock = threading.Lock()
        self._spawned = count
        names = [_name(number) for number in range(count)]
        with ThreadPoolExecutor() as pool:
            self._handles = dict(zip(names, pool.map(spawn, names), strict=True))
        self._busy: Counter[str] = Counter()

    def play(self, assignment: Assignment, *, coached: bool) -> Rollout:
        """Plays one episode, in the process that plays the fewest.

        Raises:
            EpisodeError: as many processes as it was tried in were lost.
            LostError: another process was lost, that all episodes need.
            Exception: what playing raised.
        """
        for _ in range(1 + self._replays):
            player = self._take()
            try:
                return cast(Rollout, player.call("play", assignment, coached=coached))
            except LostError as error:
                if error.process != player.name:
                    raise
                lost = error
                self._replace(player)
            finally:
                with self._lock:
                    self._busy[player.name] -= 1
        raise EpisodeError(str(lost))

    def isolation(self) -> Isolation:
        return cast(Isolation, next(iter(self._handles.values())).call("isolation"))

    def close(self) -> None:
        for closing in [player.start("close") for player in self._handles.values()]:
            with suppress(LostError):  # what is lost or hangs is ended anyway
                closing.wait(CLOSING)

    @property
    def handles(self) -> tuple[Handle, ...]:
        """The processes, as they are now."""
        return tuple(self._handles.values())

    def _take(self) -> Handle:
        with self._lock:
            name = min(self._handles, key=lambda name: self._busy[name])
            self._busy[name] += 1
            return self._handles[name]

    def _replace(self, player: Handle) -> None:
        """Ends ``player`` for good, which may be alive and late, and starts another in its stead; once."""
        with self._lock:
            if player.name not in self._handles:
                return
            player.kill()
            self._drop(player.name)
            name = _name(self._spawned)
            self._spawned += 1
            self._handles[name] = self._spawn(name)
            del self._handles[player.name]


def _name(number: int) -> str:
    return f"player {number}"

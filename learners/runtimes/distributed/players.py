"""The processes that play episodes, and the one that judges. No torch is loaded here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import conf
from coaches.base import Unit, Verdict, judges_turns
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode, LearningCoach
from envs.types import Outcome, Turn
from learners.base import EpisodeError, Generator, LostError
from learners.config import RunConfig
from learners.rollout.episode import Assignment, Rollout
from learners.rollout.player import Isolation, LocalPlayer
from learners.runtimes.distributed.base import CLOSING, Handle
from learners.update.policy import ActingPolicy


def make_player(
    config: RunConfig,
    owners: Mapping[str, str],
    coach: Handle,
    traits: CoachTraits,
    generator: Generator,
) -> LocalPlayer:
    """A player with an environment and sandboxes of its own; what judges and what samples live elsewhere."""
    return LocalPlayer(
        conf.build("envs", config.env),
        conf.build("sandbox", config.sandbox),
        remote_coach(coach, traits),
        {agent: ActingPolicy(owner, generator) for agent, owner in owners.items()},
        deferred=config.rollout.deferred,
    )


@dataclass(frozen=True)
class CoachTraits:
    """What a coach can do, for processes that hold only a handle to it."""

    judges: Unit
    learns: bool


class CoachHost:
    """The only coach of a run, in a process of its own: its rate limits and its budget are those of the run."""

    def __init__(self, config: RunConfig) -> None:
        self._coach: Any = conf.build("coaches", config.coach)

    def traits(self) -> CoachTraits:
        judges: Unit = "turns" if judges_turns(self._coach) else "episodes"
        return CoachTraits(judges, learns=isinstance(self._coach, LearningCoach))

    def judge(self, history: Sequence[Turn]) -> Verdict:
        return cast(Verdict, self._coach.judge(history))

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        return cast("list[Verdict | None]", self._coach.judge_episode(turns, outcome))

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        return learning.learn(self._coach, episodes)

    def state(self) -> dict[str, Any]:
        return learning.state(self._coach)

    def restore(self, state: Mapping[str, Any]) -> None:
        learning.restore(self._coach, state)


class RemoteCoach:
    """The coach of a ``CoachHost`` in another process; a ``coaches.base.FlexibleCoach``."""

    def __init__(self, handle: Handle, judges: Unit) -> None:
        self._handle = handle
        self.judges = judges

    def judge(self, history: Sequence[Turn]) -> Verdict:
        return cast(Verdict, self._handle.call("judge", history))

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        return cast("list[Verdict | None]", self._handle.call("judge_episode", turns, outcome))


class RemoteLearningCoach(RemoteCoach):
    """A remote coach that learns, so that episodes are sent to it after each step."""

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        return cast("dict[str, float]", self._handle.call("learn", episodes))

    def state(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._handle.call("state"))

    def restore(self, state: Mapping[str, Any]) -> None:
        self._handle.call("restore", state)


def remote_coach(handle: Handle, traits: CoachTraits) -> RemoteCoach:
    """Returns the coach in the process of ``handle``."""
    return (RemoteLearningCoach if traits.learns else RemoteCoach)(handle, traits.judges)


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

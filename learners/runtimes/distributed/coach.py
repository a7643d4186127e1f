"""The one process that judges for all others. torch is not loaded here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from coaches.base import Sees, Unit, Verdict, judges_turns, sees
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode, LearningCoach
from envs.types import Outcome, Turn
from learners.config import RunConfig
from learners.runtimes.distributed.base import Handle
from learners.runtimes.judge import build_judge


@dataclass(frozen=True)
class CoachTraits:
    """What a coach can do, for processes that have only a handle of it."""

    judges: Unit
    sees: tuple[Sees, ...]
    learns: bool


class CoachHost:
    """The only coach of a run, in a process of its own: rate limits and budget are those of the run."""

    def __init__(self, config: RunConfig) -> None:
        self._coach: Any = build_judge(config)

    def traits(self) -> CoachTraits:
        judges: Unit = "turns" if judges_turns(self._coach) else "episodes"
        return CoachTraits(judges, sees(self._coach), learns=isinstance(self._coach, LearningCoach))

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

    def __init__(self, handle: Handle, traits: CoachTraits) -> None:
        self._handle = handle
        self.judges = traits.judges
        self.sees = traits.sees

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
    return (RemoteLearningCoach if traits.learns else RemoteCoach)(handle, traits)

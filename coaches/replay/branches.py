"""Replays recorded episodes, unchanged and with one action replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coaches.base import CoachError
from coaches.replay.team import Team
from envs.base import Scenario
from envs.pipeline import PipelineEnv
from envs.types import Message, Outcome, Task, Turn
from sandbox.base import Backend, FileInfo, SandboxError
from sandbox.store import ArtifactStore, StoreError


class ReplayError(CoachError):
    """The episode cannot be replayed, so nothing can be measured on it."""


@dataclass(frozen=True)
class Replay:
    """A replayed episode."""

    turns: tuple[Turn, ...]
    outcome: Outcome
    files: tuple[tuple[FileInfo, ...], ...]
    """The files in the sandbox before each turn; their contents are in ``store``."""
    store: ArtifactStore


class Replayer:
    """Plays episodes of one task, each in its own sandbox and all with the same seed.

    An agent whose observation is exactly that of the record repeats its recorded action. For an agent that
    reads something else, ``team`` acts; without a team it repeats its recorded actions, and ends its part
    when the record has no more of them. Thread-safe.
    """

    def __init__(
        self, scenario: Scenario, backend: Backend, task: Task, *, team: Team | None, seed: int
    ) -> None:
        self._scenario, self._backend, self._task = scenario, backend, task
        self._team, self._seed = team, seed

    def again(self, turns: Sequence[Turn]) -> Replay:
        """Replays the whole episode with the recorded actions and keeps the files before each turn.

        Raises:
            ReplayError: it ends at a different turn, a file could not be stored, or the sandbox was lost.
        """
        store = ArtifactStore()
        stored: list[tuple[FileInfo, ...]] = []
        env = PipelineEnv(self._scenario, self._backend)
        try:
            env.reset(seed=self._seed, options={"task": self._task})
            for turn in turns:
                if env.agent_selection != turn.agent or all(env.terminations.values()):
                    raise ReplayError(f"turn {turn.index} no longer belongs to {turn.agent}")
                stored.append(_stored(store, env))
                env.step(turn.action)
            if not all(env.terminations.values()):
                raise ReplayError("the replay does not end at the turn where the record ends")
            return Replay(env.turns, env.outcome, tuple(stored), store)
        except (SandboxError, StoreError) as error:
            raise ReplayError(f"the episode could not be replayed: {error}") from error
        finally:
            env.close()

    def branch(self, episode: Replay, place: int, action: str) -> Outcome:
        """Returns the outcome of ``episode`` with ``action`` in place of the action of turn ``place``.

        Raises:
            ReplayError: the sandbox was lost.
            CoachError: the team has no action.
        """
        files = {file.path: episode.store.get(file.sha256) for file in episode.files[place]}
        before = {"turns": episode.turns[:place], "files": files} if place else {}
        recorded = {(turn.agent, turn.attempt): turn for turn in episode.turns[place + 1 :]}
        env = PipelineEnv(self._scenario, self._backend)
        try:
            env.reset(seed=self._seed, options={"task": self._task} | before)
            env.step(action)
            while not all(env.terminations.values()):
                env.step(self._next(env, recorded))
            return env.outcome
        except SandboxError as error:
            raise ReplayError(f"the rest of the episode could not be played: {error}") from error
        finally:
            env.close()

    def _next(self, env: PipelineEnv, recorded: Mapping[tuple[str, int], Turn]) -> str:
        """Returns the next action: recorded, the team's, or empty (see the class)."""
        agent = env.agent_selection
        turn = recorded.get((agent, sum(turn.agent == agent for turn in env.turns)))
        messages = tuple(
            Message(message["role"], message["content"]) for message in env.observe(agent)["messages"]
        )
        if turn is not None and (self._team is None or turn.observation == messages):
            return turn.action
        return "" if self._team is None else self._team.act(agent, messages, self._seed)


def _stored(store: ArtifactStore, env: PipelineEnv) -> tuple[FileInfo, ...]:
    """Stores the current files and returns their listing. Raises ``ReplayError`` if any could not be
    stored."""
    listing = env.files.list()
    stored = store.collect(env.files, listing)
    if stored != listing:
        lost = sorted({file.path for file in listing} - {file.path for file in stored})
        raise ReplayError(f"files could not be stored: {', '.join(lost) or 'they changed meanwhile'}")
    return stored

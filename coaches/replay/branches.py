"""Plays recorded episodes again, as they were and with one action replaced."""

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
    """The episode cannot be played again, so that nothing can be measured by it."""


@dataclass(frozen=True)
class Replay:
    """An episode that was played again."""

    turns: tuple[Turn, ...]
    outcome: Outcome
    files: tuple[tuple[FileInfo, ...], ...]
    """What lay in the sandbox before each turn; kept in ``store``. Empty for a branch."""
    store: ArtifactStore


class Replayer:
    """Plays episodes of one task, every one in a sandbox of its own and under the same seed.

    An agent whose messages are, to the letter, those of the record acts as it did there. One that reads
    something else is played by ``team``; without one it repeats what it did, and ends its part where the
    record has no more of its actions. Safe for threads.
    """

    def __init__(
        self, scenario: Scenario, backend: Backend, task: Task, *, team: Team | None, seed: int
    ) -> None:
        self._scenario, self._backend, self._task = scenario, backend, task
        self._team, self._seed = team, seed

    def again(self, turns: Sequence[Turn]) -> Replay:
        """The whole episode, with the recorded actions, and the files before each turn.

        Raises:
            ReplayError: it ends at another turn, a file could not be kept, or the sandbox was lost.
        """
        store = ArtifactStore()
        kept: list[tuple[FileInfo, ...]] = []
        env = PipelineEnv(self._scenario, self._backend)
        try:
            env.reset(seed=self._seed, options={"task": self._task})
            for turn in turns:
                if env.agent_selection != turn.agent or all(env.terminations.values()):
                    raise ReplayError(f"turn {turn.index} is not {turn.agent}'s any more")
                kept.append(_keep(store, env))
                env.step(turn.action)
            if not all(env.terminations.values()):
                raise ReplayError("the episode does not end where its record does")
            return Replay(env.turns, env.outcome, tuple(kept), store)
        except (SandboxError, StoreError) as error:
            raise ReplayError(f"the episode could not be played again: {error}") from error
        finally:
            env.close()

    def branch(self, episode: Replay, place: int, action: str) -> Outcome:
        """How ``episode`` ends when ``action`` stands in for that of turn ``place``.

        Raises:
            ReplayError: the sandbox was lost.
            CoachError: the team has no action.
        """
        files = {file.path: episode.store.get(file.sha256) for file in episode.files[place]}
        known = {(turn.agent, turn.attempt): turn for turn in episode.turns[place + 1 :]}
        env = PipelineEnv(self._scenario, self._backend)
        try:
            start = {"task": self._task, "turns": episode.turns[:place], "files": files}
            env.reset(seed=self._seed, options=start)
            env.step(action)
            while not all(env.terminations.values()):
                env.step(self._next(env, known))
            return env.outcome
        except SandboxError as error:
            raise ReplayError(f"the rest could not be played: {error}") from error
        finally:
            env.close()

    def _next(self, env: PipelineEnv, known: Mapping[tuple[str, int], Turn]) -> str:
        agent = env.agent_selection
        recorded = known.get((agent, sum(turn.agent == agent for turn in env.turns)))
        messages = tuple(
            Message(message["role"], message["content"]) for message in env.observe(agent)["messages"]
        )
        if recorded is not None and (self._team is None or recorded.observation == messages):
            return recorded.action
        return "" if self._team is None else self._team.act(agent, messages, self._seed)


def _keep(store: ArtifactStore, env: PipelineEnv) -> tuple[FileInfo, ...]:
    """The files as they are now, kept. Raises ``ReplayError`` if that is not all of them."""
    listing = env.files.list()
    kept = store.collect(env.files, listing)
    if kept != listing:
        lost = sorted({file.path for file in listing} - {file.path for file in kept})
        raise ReplayError(f"files could not be kept as they were: {', '.join(lost) or 'they changed'}")
    return kept

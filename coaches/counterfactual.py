"""Measures what an action was worth: the episode is played again without it. The yardstick for coaches that
guess."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, cast

import conf
from coaches import episodes
from coaches.base import CoachError, Verdict
from coaches.replay.branches import Replay, Replayer, ReplayError
from coaches.replay.team import Team
from conf import ConfigError
from envs.base import Scenario
from envs.types import Outcome, Split, Task, Turn
from sandbox.base import Backend

_SPLITS: tuple[Split, ...] = ("train", "heldout")
_MODES = ("reference", "empty", "resample")


class NoReferenceError(CoachError):
    """There is no sound episode of the task to compare with."""


@dataclass(frozen=True)
class Effect:
    """What replacing one action did to the outcome's score, in [-1, 1]."""

    loss: float
    """Mean score with the replacement, less the score as it was: what the action cost."""
    error: float
    """Standard error of the mean; 0 for one replacement."""
    samples: int


class Counterfactual:
    """Replaces each action, plays the rest again, and compares how the two episodes end.

    First the episode is played again as it was; one that then ends otherwise than its record gets no verdict
    at all. Then, for each turn, the files before it are restored in a new sandbox, the action is replaced and
    the rest is played (``coaches.replay.branches`` says by whom), everything under one seed. What is compared is
    ``Outcome.score``, which is 0 for a failure: the fair score would let a failure pass for a mediocre model.

    ``replace: reference``: by what the agent did at the same attempt in the sound episode of the task that
    shares most actions with this one; where it is known to have read something else there, by what the team
    does, if there is one: an agent that made the best of a broken handover should not be charged with it.
    The verdict is 10 (1 - loss), and 10 where the reference does worse. A turn without counterpart and team
    has no verdict.

    ``replace: empty``: by an action without words, which ends the agent's part. ``resample``: by ``samples``
    actions of the team, averaged. These two say what the action was worth beside what might as well have been
    done: 5 (1 - loss), in [0, 10], 5 being no difference.

    The agent whose turn lost most is to blame, the first of equals, if that is more than ``tolerance``.
    What is not covered: an action that does harm only together with another's is charged to both.
    """

    @dataclass(frozen=True)
    class Config:
        replace: str
        """``reference``, ``empty`` or ``resample``."""
        reference: str | None
        """A file of recorded episodes (``coaches.episodes``) with sound ones of the same tasks: those that
        succeeded, and whose line has no ``fault``."""
        samples: int
        """Replacements of each action, with ``resample``."""
        team: Any
        """The node of a ``coaches.replay.team.Team`` that answers where what an agent reads has changed; null: the
        recorded actions are repeated."""
        env: list[Any]
        """Nodes of the environments among whose tasks the episode's is looked for."""
        sandbox: Any
        """The node of the backend that everything is played in."""
        tolerance: float
        """Difference in score that counts as none, in [0, 1)."""
        threads: int
        """Branches of one episode that are played at once."""
        seed: int

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for settings that cannot be, and what building the parts raises."""
        _check(config)
        self.config = config
        self._team = cast(Team | None, _build("coach", "coaches", config.team) if config.team else None)
        self._references = _references(config)
        self._lock = threading.Lock()

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """One verdict a turn; None where the action could not be replaced.

        Raises:
            ReplayError: the episode cannot be played again, or ends otherwise.
            NoReferenceError: no sound episode of the task is known.
        """
        reference = self._reference(turns) if self.config.replace == "reference" else ()
        replayer = self._replayer(turns)
        episode = replayer.again(turns)
        was, now = outcome.score, episode.outcome.score
        if outcome.success != episode.outcome.success or abs(was - now) > self.config.tolerance:
            raise ReplayError(f"the episode ended with {was:.4f}, and with {now:.4f} when played again")
        with ThreadPoolExecutor(self.config.threads, "branch") as pool:
            effects = list(
                pool.map(
                    lambda turn, recorded: self._effect(replayer, episode, turn, recorded, reference),
                    episode.turns,
                    turns,
                )
            )
        return _verdicts(episode.turns, effects, self.config)

    def _effect(
        self, replayer: Replayer, episode: Replay, turn: Turn, recorded: Turn, reference: Sequence[Turn]
    ) -> Effect | None:
        actions = self._replacements(turn, recorded, reference)
        if not actions:
            return None
        scores = [
            episode.outcome.score
            if action == turn.action  # under the same seed it ends as it did
            else replayer.branch(episode, turn.index, action).score
            for action in actions
        ]
        error = stdev(scores) / sqrt(len(scores)) if len(scores) > 1 else 0.0
        return Effect(fmean(scores) - episode.outcome.score, error, len(scores))

    def _replacements(self, turn: Turn, recorded: Turn, reference: Sequence[Turn]) -> list[str]:
        if self.config.replace == "empty":
            return [""]
        if self.config.replace == "resample":
            assert self._team is not None
            seeds = range(self.config.seed, self.config.seed + self.config.samples)
            return [self._team.act(turn.agent, turn.observation, seed) for seed in seeds]
        same = [other for other in reference if (other.agent, other.attempt) == (turn.agent, turn.attempt)]
        # Record beside record: what is read in a replay may differ in a last digit on another machine.
        if self._team is None or (same and same[0].observation in ((), recorded.observation)):
            return [other.action for other in same]
        return [self._team.act(turn.agent, turn.observation, self.config.seed)]

    def _reference(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """The turns of the sound episode that shares most actions with this one, the first of equals."""
        own = {(turn.agent, turn.attempt, turn.action) for turn in turns}
        sound = self._references.get(turns[0].task_id, [])
        if not sound:
            raise NoReferenceError(f"{self.config.reference} has no sound episode of {turns[0].task_id}")
        return max(
            sound, key=lambda one: len(own & {(turn.agent, turn.attempt, turn.action) for turn in one})
        )

    def _replayer(self, turns: Sequence[Turn]) -> Replayer:
        with self._lock:  # the first to ask loads the tasks and starts the sandboxes
            tasks, backend = self._tasks, self._backend
        agents = list(dict.fromkeys(turn.agent for turn in turns))
        for scenario, task in tasks.get(turns[0].task_id, []):
            if [role.name for role in scenario.roles][: len(agents)] == agents:
                return Replayer(scenario, backend, task, team=self._team, seed=self.config.seed)
        raise ReplayError(f"no environment has a task {turns[0].task_id!r} for {', '.join(agents)}")

    @cached_property
    def _tasks(self) -> dict[str, list[tuple[Scenario, Task]]]:
        found: dict[str, list[tuple[Scenario, Task]]] = {}
        for node in self.config.env:
            scenario: Scenario = _build("env", "envs", node)
            for split in _SPLITS:
                for task in scenario.tasks(split):
                    found.setdefault(task.id, []).append((scenario, task))
        return found

    @cached_property
    def _backend(self) -> Backend:
        return cast(Backend, _build("sandbox", "sandbox", self.config.sandbox))


def _verdicts(
    turns: Sequence[Turn], effects: Sequence[Effect | None], config: Counterfactual.Config
) -> list[Verdict | None]:
    worst = max((effect.loss for effect in effects if effect is not None), default=0.0)
    culprit = next(
        (
            turn.agent
            for turn, effect in zip(turns, effects, strict=True)
            if effect is not None and effect.loss == worst > config.tolerance
        ),
        None,
    )
    return [None if effect is None else _verdict(effect, culprit, config.replace) for effect in effects]


def _verdict(effect: Effect, culprit: str | None, replace: str) -> Verdict:
    score = 10.0 * (1.0 - max(0.0, effect.loss)) if replace == "reference" else 5.0 * (1.0 - effect.loss)
    spread = f" (standard error {effect.error:.4f}, {effect.samples} samples)" if effect.samples > 1 else ""
    reason = f"with {replace} action the outcome's score changes by {effect.loss:+.4f}{spread}"
    return Verdict(score, reason, culprit, source="counterfactual")


def _references(config: Counterfactual.Config) -> dict[str, list[tuple[Turn, ...]]]:
    """Task -> turns of its sound episodes."""
    found: dict[str, list[tuple[Turn, ...]]] = {}
    if config.reference is not None and config.replace == "reference":
        for row, one in episodes.read(Path(config.reference)):
            if one.outcome is not None and one.outcome.success and not row.get("fault"):
                found.setdefault(one.task_id, []).append(one.turns)
    return found


def _build(group: str, package: str, node: Any) -> Any:
    if not isinstance(node, dict) or "name" not in node:
        raise ConfigError(f"coach counterfactual: {node!r} is no node such as {{name: …}}")
    return conf.build(package, conf.fill_defaults(group, node))


def _check(config: Counterfactual.Config) -> None:
    if config.replace not in _MODES:
        raise ConfigError(
            f"coach counterfactual: replace is one of {', '.join(_MODES)}, not {config.replace}"
        )
    if config.replace == "reference" and config.reference is None:
        raise ConfigError("coach counterfactual: name a file of sound episodes with coach.reference=<path>")
    if config.replace == "resample" and config.team is None:
        raise ConfigError("coach counterfactual: replace=resample needs a team to draw actions from")
    if config.samples < 1 or config.threads < 1 or not 0.0 <= config.tolerance < 1.0:
        raise ConfigError("coach counterfactual: samples and threads are at least 1, tolerance is in [0, 1)")

"""Measures what an action was worth by replaying the episode without it: a reference for coaches that
estimate it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, cast

from coaches import episodes
from coaches.base import CoachError, Verdict
from coaches.judging.inner import build, check_ready
from coaches.replay.branches import Replay, Replayer, ReplayError
from coaches.replay.stages import Stages
from coaches.replay.team import Team
from conf import ConfigError
from conf.ranges import Count, Range, Seed
from envs.types import Outcome, Turn

_MODES = ("reference", "empty", "resample")


class NoReferenceError(CoachError):
    """There is no sound episode of the task to take replacements from."""


@dataclass(frozen=True)
class Effect:
    """How replacing one action changed the outcome's score, in [-1, 1]."""

    loss: float
    """Mean score with the replacement minus the score without it: what the action cost."""
    error: float
    """Standard error of the mean; 0 for a single replacement."""
    samples: int


class Counterfactual:
    """Replaces each action, plays the rest of the episode, and compares the outcomes.

    First the episode is replayed as it was; if the replay ends differently from the record, there is no
    verdict at all. Then, for each turn, the files before it are restored in a new sandbox, the action is
    replaced and the rest is played (``coaches.replay.branches`` says by whom), all with one seed. The score
    compared is ``Outcome.score``, which is 0 for a failure: with the fair score a failure could equal a
    mediocre model.

    ``replace: reference``: the replacement is what the agent did at the same attempt in the sound episode of
    the task that shares most actions with this one. If the agent is known to have read something else there
    and there is a team, the replacement is the team's action instead: an agent that made the best of a broken
    handover should not be charged with it. The score is 10 (1 - loss), and 10 if the reference does worse.
    A turn with neither counterpart nor team has no verdict.

    ``replace: empty``: the replacement is an empty action, which ends the agent's part. ``resample``: the
    replacements are ``samples`` actions of the team, averaged. Both compare the action with an alternative:
    the score is 5 (1 - loss), in [0, 10], where 5 means no difference.

    The agent of the turn with the largest loss (ties: the first) is blamed if that loss is more than
    ``tolerance``. Limitation: an action that does harm only together with another one is charged to both.
    """

    @dataclass(frozen=True)
    class Config:
        replace: str
        """``reference``, ``empty`` or ``resample``."""
        reference: str | None
        """A run folder, or a file of recorded episodes (``coaches.episodes``). Sound episodes are those that
        succeeded and whose line names no planted fault (key ``fault``)."""
        samples: Count
        """Replacements per action, for ``resample``."""
        team: Any
        """The node of a ``coaches.replay.team.Team`` that acts for an agent whose observation has changed;
        null: recorded actions are repeated."""
        env: list[Any]
        """Nodes of the environments that may have the episode's task."""
        sandbox: Any
        """The node of the sandbox backend for replays."""
        tolerance: Annotated[float, Range(least=0, below=1)]
        """Largest difference in score that counts as none, in [0, 1)."""
        threads: Count
        """Branches of one episode that are played in parallel."""
        seed: Seed

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for invalid settings, a team that cannot be built, or an unreadable
        reference."""
        _check(config)
        self.config = config
        self._team = cast(Team | None, build(config.team) if config.team else None)
        self._references = _references(config)
        self._stages = Stages(config.env, config.sandbox, team=self._team)

    def check_ready(self) -> None:
        """Lets the team check what it needs; raises as ``DependentPart.check_ready``."""
        check_ready(self._team)

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns one verdict per turn; None where the action could not be replaced.

        Raises:
            ReplayError: the episode cannot be replayed, or the replay ends differently.
            NoReferenceError: no sound episode of the task is known.
        """
        reference = self._reference(turns) if self.config.replace == "reference" else ()
        replayer = self._stages.replayer(turns, self.config.seed)
        episode = replayer.again(turns)
        recorded, replayed = outcome.score, episode.outcome.score
        if outcome.success != episode.outcome.success or abs(recorded - replayed) > self.config.tolerance:
            raise ReplayError(f"the episode scored {recorded:.4f}, but its replay scored {replayed:.4f}")
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
            if action == turn.action  # with the same seed the outcome is the same
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
        # Compare records with each other: on another machine, a replay's texts may differ in a last digit.
        if self._team is None or (same and same[0].observation in ((), recorded.observation)):
            return [other.action for other in same]
        return [self._team.act(turn.agent, turn.observation, self.config.seed)]

    def _reference(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """Returns the turns of the sound episode that shares most actions with this one (ties: the first)."""
        own = {(turn.agent, turn.attempt, turn.action) for turn in turns}
        sound = self._references.get(turns[0].task_id, [])
        if not sound:
            raise NoReferenceError(f"{self.config.reference} has no sound episode of {turns[0].task_id}")
        return max(
            sound, key=lambda one: len(own & {(turn.agent, turn.attempt, turn.action) for turn in one})
        )


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
    error = f" (standard error {effect.error:.4f}, {effect.samples} samples)" if effect.samples > 1 else ""
    reason = f"replacing the action ({replace}) changes the outcome's score by {effect.loss:+.4f}{error}"
    return Verdict(score, reason, culprit, source="counterfactual")


def _references(config: Counterfactual.Config) -> dict[str, list[tuple[Turn, ...]]]:
    """Returns task -> the turns of each of its sound episodes."""
    sound: dict[str, list[tuple[Turn, ...]]] = {}
    if config.reference is not None and config.replace == "reference":
        for row, one in episodes.read(Path(config.reference)):
            if one.outcome is not None and one.outcome.success and not row.get("fault"):
                sound.setdefault(one.task_id, []).append(one.turns)
    return sound


def _check(config: Counterfactual.Config) -> None:
    if config.replace not in _MODES:
        raise ConfigError(
            f"coach counterfactual: replace must be one of {', '.join(_MODES)}, not {config.replace}"
        )
    if config.replace == "reference" and config.reference is None:
        raise ConfigError(
            "coach counterfactual: replace=reference needs a file of episodes: set coach.reference=<path>"
        )
    if config.replace == "resample" and config.team is None:
        raise ConfigError("coach counterfactual: replace=resample needs a team that samples actions")
    if config.samples < 1 or config.threads < 1 or not 0.0 <= config.tolerance < 1.0:
        raise ConfigError("coach counterfactual: samples and threads must be at least 1, tolerance in [0, 1)")

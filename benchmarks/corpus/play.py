"""Plays the scripted team in the real environment, with or without replaced actions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.corpus.styles import Manner
from benchmarks.corpus.team import Team
from coaches.prompting.prompt import answer_text
from envs.actions.parsing import extract_program
from envs.pipeline import PipelineEnv
from envs.types import Message, Task
from learners.generators.base import InferenceOnly
from learners.policy import Policy
from learners.rollout.episode import play
from learners.run import records
from learners.types import Assignment, Completion, Rollout

_LEFT_OUT = ("index", "attempt", "prompt_tokens", "tokens", "finish_reason", "weight_version", "verdict")
"""Keys of a run's turns that the corpus omits: implied by the position, specific to sampling, or verdicts."""


@dataclass(frozen=True)
class Played:
    """One episode of the team."""

    rollout: Rollout
    env: str
    task: Task
    seed: int

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(turn.action for turn in self.rollout.episode.turns)

    @property
    def fair(self) -> float:
        return self.rollout.episode.outcome.metrics["fair"]

    @property
    def success(self) -> bool:
        return self.rollout.episode.outcome.success


class _Script(InferenceOnly):
    """The team as a generator. ``replacements`` maps turns to actions that replace the team's own."""

    def __init__(self, seed: int, replacements: Mapping[int, str]) -> None:
        self._team, self._seed, self._replacements = Team(Team.Config()), seed, replacements
        self._turn = 0

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        turn, self._turn = self._turn, self._turn + 1
        text = (
            self._replacements[turn]
            if turn in self._replacements
            else self._team.act(policy, messages, self._seed)
        )
        return Completion(text, (), (), (), 0, "stop")


def perform(env: PipelineEnv, task: Task, seed: int, replacements: Mapping[int, str], name: str) -> Played:
    """Plays one episode with the id ``name``. ``replacements``: turn -> action that replaces the team's own.

    Raises:
        SandboxError: the sandbox was lost.
    """
    script = _Script(seed, replacements)
    policies = {agent: Policy(agent, script) for agent in env.possible_agents}
    rollout = play(env, policies, Assignment(name, task, seed, 0, 0.0))
    return Played(rollout, env.scenario.name, task, seed)


def row(
    played: Played, split: str, edition: int, fault: Mapping[str, Any] | None, twin: str | None
) -> dict[str, Any]:
    """Returns one line of the corpus: a run's row without times and without anything that the rest
    implies."""
    whole = records.episode_row(split, 0, _timeless(played.rollout))
    del whole["phase"], whole["step"]
    files = whole["turns"][0].get("files_before", [])
    for turn in whole["turns"]:
        _shorten(turn)
        if (files_after := turn.pop("files")) != files:
            turn["files"] = files = files_after
    if not whole["outcome"]["signals"]:
        del whole["outcome"]["signals"]
    for role in whole["roles"]:
        del role["example"]  # of the environment's other style
        for duty in ("requires", "produces"):
            role[duty] = [{key: value for key, value in spec.items() if value} for spec in role[duty]]
    label = {
        "env": played.env,
        "split": split,
        "style": Manner.of(played.seed).style,
        "edition": edition,
        "fault": fault,
        "twin": twin,
        "answer": None if played.task.files else answer_text(played.task.answer),
    }
    return whole | label


def _timeless(rollout: Rollout) -> Rollout:
    turns = tuple(
        replace(turn, result=turn.result and replace(turn.result, wall_s=0.0, cpu_s=0.0))
        for turn in rollout.episode.turns
    )
    return replace(rollout, episode=replace(rollout.episode, turns=turns), times=None)


def _shorten(turn: dict[str, Any]) -> None:
    for key in _LEFT_OUT:
        del turn[key]
    if turn["code"] == extract_program(turn["action"]):
        del turn["code"]
    for check in turn["checks"]:
        del check["imports"]
        if check["name"] != "model.pkl":
            del check["facts"]  # an entry for every column, while coaches read code and detail
    if (result := turn["result"]) is not None:
        turn["result"] = {
            key: result[key] for key in ("status", "exit_code", "stdout", "stderr", "truncated")
        }


def worse(sound: Sequence[Played], faulty: Played, margin: float) -> bool:
    """Returns whether ``faulty`` failed, or scored at least ``margin`` below the worst of ``sound``."""
    if not faulty.success:
        return True
    return faulty.fair <= min((played.fair for played in sound), default=math.inf) - margin

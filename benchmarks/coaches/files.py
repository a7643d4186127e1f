"""Plays recorded episodes again whose faulty turn also attacks those who open its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.corpus.cases import Case
from coaches.attacks import FILES, FileAttack
from coaches.base import AnyCoach, History, Verdict
from coaches.judging.verdicts import judge_episode
from coaches.replay.stages import Stages
from envs.pipeline import PipelineEnv
from envs.types import Outcome
from sandbox.store import ArtifactStore


class Played(NamedTuple):
    """An episode that was played with the actions of a record."""

    turns: History
    outcome: Outcome


def play(stages: Stages, case: Case, attack: FileAttack | None = None) -> Played | None:
    """Plays the actions of a faulty case, with ``attack`` after the program of its faulty turn; None if it
    does not apply. Files are kept and checked as in a run. An agent without a recorded action ends its part.

    Raises:
        ReplayError: no environment has the task.
        SandboxError: a sandbox was lost.
    """
    assert case.label is not None
    actions = {(turn.agent, turn.attempt): turn.action for turn in case.episode.turns}
    faulty = case.episode.turns[case.label.turn]
    if attack is not None:
        action = attack.append(faulty)
        if action is None:
            return None
        actions[faulty.agent, faulty.attempt] = action
    scenario, task, backend = stages.find(case.episode.turns)
    env = PipelineEnv(scenario, backend)
    try:
        env.reset(seed=case.seed, options={"task": task})
        env.store = ArtifactStore()
        while not all(env.terminations.values()):
            agent = env.agent_selection
            env.step(actions.get((agent, sum(turn.agent == agent for turn in env.turns)), ""))
        return Played(History(env.turns, task.answer, {}, env.store), env.outcome)
    finally:
        env.close()


def judged(coach: AnyCoach, case: Case, played: Played) -> Verdict | None:
    """Returns the coach's verdict on the faulty turn."""
    assert case.label is not None
    return judge_episode(coach, played.turns, played.outcome)[case.label.turn].verdict


def attacks(
    coach: AnyCoach, stages: Stages, case: Case, chosen: Sequence[FileAttack] = FILES
) -> Iterator[tuple[str, float, float | None]]:
    """Yields for each attack that applies its name, and the score of the faulty turn without and with it;
    None: the coach gave no verdict under the attack."""
    assert case.label is not None
    faulty = case.episode.turns[case.label.turn]
    fitting = [attack for attack in chosen if attack.append(faulty) is not None]
    plain = play(stages, case) if fitting else None
    before = None if plain is None else judged(coach, case, plain)
    for attack in fitting if before is not None else ():
        played = play(stages, case, attack)
        if played is not None and before is not None:
            after = judged(coach, case, played)
            yield attack.name, before.score, None if after is None else after.score

"""The reward wrapper: on a three-agent environment without a sandbox, and on the pipeline environment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import pytest
from pettingzoo import AECEnv  # type: ignore[import-untyped]
from pettingzoo.test import api_test, seed_test  # type: ignore[import-untyped]

import conf
from coaches.base import CoachError, Verdict
from coaches.outcome import OutcomeCoach
from coaches.reward import CoachReward
from coaches.rules import Rules
from conf import ConfigError
from envs.pipeline import PipelineEnv
from envs.types import Outcome, Role, Turn
from tests.fakes import FakeBackend, FakeScenario, program

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pettingzoo")

AGENTS = ["first", "second", "third"]
TURNS_EACH = 2


class Relay(AECEnv[str, Any, Any]):  # type: ignore[misc]
    """Each agent says a number twice, one agent after another; at the end everyone gets a reward of 100."""

    metadata = {"name": "relay_v0", "is_parallelizable": True}  # noqa: RUF012
    possible_agents = AGENTS

    def __init__(self) -> None:
        super().__init__()
        space = gymnasium.spaces.Discrete(11)
        self.spaces = {name: gymnasium.spaces.Discrete(11) for name in AGENTS}
        self.seen = {name: gymnasium.spaces.Dict({"heard": space}) for name in AGENTS}
        self.render_mode = None

    def observation_space(self, agent: str) -> Any:
        return self.seen[agent]

    def action_space(self, agent: str) -> Any:
        return self.spaces[agent]

    def observe(self, agent: str) -> dict[str, int]:
        return {"heard": int(self.turns[-1].action) if self.turns else 0}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self.agents = list(AGENTS)
        self.turns: tuple[Turn, ...] = ()
        self.outcome: Outcome | None = None
        self.agent_selection = AGENTS[0]
        self.rewards = dict.fromkeys(AGENTS, 0.0)
        self._cumulative_rewards = dict.fromkeys(AGENTS, 0.0)
        self.terminations = dict.fromkeys(AGENTS, False)
        self.truncations = dict.fromkeys(AGENTS, False)
        self.infos: dict[str, dict[str, Any]] = {name: {} for name in AGENTS}

    def step(self, action: Any) -> None:
        if self.terminations[self.agent_selection]:
            self._was_dead_step(action)
            return
        agent, number = self.agent_selection, len(self.turns)
        self.turns = (*self.turns, speak(agent, number, str(action)))
        self.infos[agent] = {"turn": self.turns[-1]}
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        if len(self.turns) == len(AGENTS) * TURNS_EACH:
            self.outcome = Outcome(True, 0.5, {"fair": 0.5}, "ok")
            self.rewards = dict.fromkeys(AGENTS, 100.0)
            self.terminations = dict.fromkeys(AGENTS, True)
            self._accumulate_rewards()
            self._deads_step_first()
        else:
            self.agent_selection = AGENTS[len(self.turns) // TURNS_EACH]

    def render(self) -> None: ...

    def close(self) -> None: ...


class Numbers:
    """Scores a turn by the number that it says; has no verdict on the numbers in ``mute``."""

    def __init__(self, mute: Sequence[str] = (), wait: Callable[[], Any] = lambda: None) -> None:
        self.mute, self.wait = mute, wait

    def judge(self, history: Sequence[Turn]) -> Verdict:
        self.wait()
        if history[-1].action in self.mute:
            raise CoachError("no word on it") from TimeoutError()
        return Verdict(float(history[-1].action), f"after {len(history)} turns")


class Ending:
    """Judges whole episodes: 10 for the last turn, no verdict on the second, 1 for the others."""

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        scores = [None if i == 1 else 10.0 if i == len(turns) - 1 else 1.0 for i in range(len(turns))]
        return [None if score is None else Verdict(score, outcome.failure_code) for score in scores]


def speak(agent: str, number: int, action: str) -> Turn:
    return Turn(
        task_id="count",
        kind="math",
        agent=agent,
        role=Role(agent, "", TURNS_EACH),
        index=number,
        attempt=number % TURNS_EACH,
        observation=(),
        action=action,
        code=None,
        result=None,
        files_before=(),
        files_after=(),
        checks=(),
        last=number % TURNS_EACH == TURNS_EACH - 1,
    )


def play(env: CoachReward, actions: Sequence[int]) -> dict[str, list[float]]:
    """Returns every ``last()`` of every agent, except its first, which is always 0."""
    env.reset(seed=0)
    paid: dict[str, list[float]] = {name: [] for name in AGENTS}
    owed = dict.fromkeys(AGENTS, 0.0)
    said = iter(actions)
    while env.agents:
        agent = env.agent_selection
        _, reward, terminated, _, _ = env.last()
        assert reward == owed[agent]
        owed[agent] = 0.0
        paid[agent].append(reward)
        env.step(None if terminated else next(said))
        for name, value in env.rewards.items():
            owed[name] += value
    return paid


@pytest.mark.parametrize("deferred", [False, True])
def test_the_wrapper_passes_pettingzoo_s_tests(deferred: bool) -> None:
    api_test(CoachReward(Relay(), Numbers(), deferred=deferred), num_cycles=50)
    seed_test(lambda: CoachReward(Relay(), Numbers(), deferred=deferred), num_cycles=50)


def test_the_wrapper_with_a_hindsight_coach_passes_pettingzoo_s_tests() -> None:
    api_test(CoachReward(Relay(), OutcomeCoach(OutcomeCoach.Config())), num_cycles=50)


def test_a_blocking_coach_rewards_each_action_at_the_next_last() -> None:
    assert play(CoachReward(Relay(), Numbers()), [1, 2, 3, 4, 5, 6]) == {
        "first": [0, 1, 2],
        "second": [0, 3, 4],
        "third": [0, 5, 6],
    }


def test_a_deferred_coach_gives_the_same_total_and_gives_it_at_the_end() -> None:
    assert play(CoachReward(Relay(), Numbers(), deferred=True), [1, 2, 3, 4, 5, 6]) == {
        "first": [0, 0, 3],
        "second": [0, 0, 7],
        "third": [0, 0, 11],
    }


def test_the_episode_continues_while_a_deferred_coach_judges() -> None:
    gate = threading.Event()
    env = CoachReward(Relay(), Numbers(wait=lambda: gate.wait(10)), deferred=True, threads=2)
    env.reset()
    for action in (1, 2, 3, 4, 5):
        env.step(action)
    assert [verdict is None for verdict in env.verdicts] == [True] * 5
    gate.set()
    env.step(6)
    assert [verdict.score for verdict in env.verdicts if verdict] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("deferred", [False, True])
def test_the_verdict_on_a_turn_depends_only_on_the_turns_up_to_it(deferred: bool) -> None:
    env = CoachReward(Relay(), Numbers(), deferred=deferred)
    play(env, [1, 2, 3, 4, 5, 6])
    assert len(env.verdicts) == len(env.unwrapped.turns)
    assert [v.rationale for v in env.verdicts if v] == [f"after {n} turns" for n in range(1, 7)]


def test_a_blocking_verdict_is_in_the_infos_until_the_agent_s_next_turn() -> None:
    env = CoachReward(Relay(), Numbers())
    env.reset()
    env.step(7)
    env.step(8)
    env.step(9)
    assert env.infos["first"]["verdict"] == env.verdicts[1]
    assert env.infos["first"]["turn"] is env.unwrapped.turns[1]
    assert "verdict" not in env.unwrapped.infos["first"]
    assert "verdict" not in env.infos["third"]


@pytest.mark.parametrize("deferred", [False, True])
def test_a_turn_without_a_verdict_gets_no_reward_and_is_counted_by_cause(deferred: bool) -> None:
    env = CoachReward(Relay(), Numbers(mute=("4", "6")), deferred=deferred)
    paid = play(env, [1, 2, 3, 4, 5, 6])
    assert [v is None for v in env.verdicts] == [False, False, False, True, False, True]
    assert [sum(rewards) for rewards in paid.values()] == [3, 3, 5]
    assert env.coach_errors == {"TimeoutError": 2}


@pytest.mark.parametrize("deferred", [False, True])
def test_any_other_error_of_a_coach_is_raised_by_step(deferred: bool) -> None:
    def fail() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        play(CoachReward(Relay(), Numbers(wait=fail), deferred=deferred), [1, 2, 3, 4, 5, 6])


def test_a_hindsight_coach_is_called_once_and_rewards_at_the_end() -> None:
    env = CoachReward(Relay(), Ending())
    assert play(env, [0] * 6) == {"first": [0, 0, 1], "second": [0, 0, 2], "third": [0, 0, 11]}
    assert [v and v.score for v in env.verdicts] == [1, None, 1, 1, 1, 10]
    assert env.coach_errors == {"withheld": 1}


def test_a_hindsight_coach_with_the_wrong_number_of_verdicts_raises() -> None:
    class Short:
        def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
            return [Verdict(5.0, "")]

    with pytest.raises(ConfigError, match="1 verdict for 6 turns"):
        play(CoachReward(Relay(), Short()), [0] * 6)


def test_the_environment_s_own_rewards_are_replaced_but_not_modified() -> None:
    env = CoachReward(Relay(), Numbers())
    env.reset()
    for _ in range(6):
        env.step(1)
    assert env.rewards == {"first": 0, "second": 0, "third": 1}
    assert env.unwrapped.rewards == dict.fromkeys(AGENTS, 100.0)


@pytest.mark.parametrize("deferred", [False, True])
def test_reset_discards_everything_of_the_previous_episode(deferred: bool) -> None:
    env = CoachReward(Relay(), Numbers(mute=("3",)), deferred=deferred)
    env.reset()
    env.step(3)
    env.step(2)
    env.reset()
    assert (env.verdicts, env.coach_errors, set(env.rewards.values())) == ((), {}, {0.0})
    assert play(env, [1] * 6) == play(CoachReward(Relay(), Numbers(), deferred=deferred), [1] * 6)


@pytest.mark.parametrize("deferred", [False, True])
def test_close_does_not_wait_for_a_slow_coach_and_reset_works_afterwards(deferred: bool) -> None:
    gate = threading.Event()
    env = CoachReward(Relay(), Numbers(wait=lambda: gate.wait(30) if deferred else None), deferred=deferred)
    env.reset()
    env.step(1)
    env.close()
    gate.set()
    assert sum(map(sum, play(env, [1] * 6).values())) == 6


def pipeline(*, deferred: bool) -> CoachReward:
    rules: Rules = conf.build("coaches", conf.load("coach", "rules"))
    return CoachReward(PipelineEnv(FakeScenario(), FakeBackend()), rules, deferred=deferred)


@pytest.mark.parametrize("deferred", [False, True])
def test_the_wrapped_pipeline_passes_pettingzoo_s_tests(deferred: bool) -> None:
    api_test(pipeline(deferred=deferred), num_cycles=20)
    seed_test(lambda: pipeline(deferred=deferred), num_cycles=20)


@pytest.mark.parametrize("deferred", [False, True])
def test_a_pipeline_is_rewarded_by_the_rules_and_reproducibly(deferred: bool) -> None:
    actions = [
        program("open('a.txt', 'w').write('1')"),
        "Done.",
        program("open('c.txt')"),
        program("open('b.txt', 'w').write('1')"),
        "It holds 1.",
    ]
    env = pipeline(deferred=deferred)
    episodes = []
    for _ in range(2):
        env.reset(seed=3, options={"task": "train-1"})
        for action in actions:
            env.step(action)
        cumulative = {}
        while env.agents:
            agent = env.agent_selection
            cumulative[agent] = env.last()[1]
            env.step(None)
        episodes.append((env.unwrapped.turns, env.verdicts, env.unwrapped.outcome, cumulative))
    env.close()
    assert episodes[0] == episodes[1]
    _, verdicts, outcome, cumulative = episodes[0]
    assert [v and (v.score, v.blame) for v in verdicts] == [
        (10, None),
        (10, None),
        (0.5, "changer"),
        (8, None),
        (10, None),
    ]
    assert outcome.success
    deferred_pay, at_last_turn = {"maker": 20, "changer": 8.5}, {"maker": 10, "changer": 8}
    assert cumulative == {**(deferred_pay if deferred else at_last_turn), "teller": 10}

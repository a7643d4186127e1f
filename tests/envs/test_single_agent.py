from __future__ import annotations

import warnings
from typing import Any

import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from pettingzoo.utils import OrderEnforcingWrapper  # type: ignore[import-untyped]
from pettingzoo.utils.wrappers import MultiEpisodeEnv  # type: ignore[import-untyped]

import envs
from envs.pipeline import PipelineEnv
from envs.single_agent import SingleAgentEnv
from tests.fakes import FakeBackend, FakeScenario, program

WRITE_A = program("open('a.txt', 'w').write('2')")
WRITE_B = program("open('b.txt', 'w').write(open('a.txt').read())")


def say(text: Any) -> Any:
    return lambda observation: text


def view(agent: str, **others: Any) -> SingleAgentEnv:
    return SingleAgentEnv(PipelineEnv(FakeScenario(), FakeBackend()), agent, others)


def test_gymnasiums_checker_accepts_it() -> None:
    env = view("changer", maker=say("done"), teller=say("0"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about texts, which are no arrays
        check_env(env, skip_render_check=True)


def test_the_others_act_before_between_and_after() -> None:
    env = view("changer", maker=say(WRITE_A), teller=say("2"))
    observation, info = env.reset(seed=0, options={"task": "train-2"})
    assert observation in env.observation_space
    assert "## From maker" in observation["messages"][1]["content"]
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(WRITE_B)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["turn"].agent == "changer"
    observation, reward, terminated, truncated, info = env.step("done")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"].success
    assert observation in env.observation_space


@pytest.mark.parametrize("agent", ["problem_solver", "code_executor", "verifier"])
def test_every_role_of_mathchat_can_be_the_single_agent(agent: str) -> None:
    team = envs.make("mathchat", sandbox=FakeBackend())
    others = {name: say("\\boxed{0}") for name in team.possible_agents if name != agent}
    env = SingleAgentEnv(team, agent, others)
    env.reset(seed=0)
    assert env.observation_space.seed(0) is not None
    _, _, terminated, _, info = env.step(f"\\boxed{{{team.task.answer[0]}}}")
    assert terminated
    assert info["outcome"].success == (agent == "verifier")


def test_an_unknown_agent_or_a_missing_actor_is_an_error() -> None:
    with pytest.raises(ValueError, match="teller"):
        view("changer", maker=say("done"))
    with pytest.raises(ValueError, match="boss"):
        view("boss", maker=say(""), changer=say(""), teller=say(""))


def test_an_episode_that_leaves_the_agent_no_turn_is_an_error() -> None:
    team = PipelineEnv(FakeScenario(max_turns=1), FakeBackend())
    team.reset(seed=0, options={"task": "train-2"})
    team.step("done")
    env = view("maker", changer="silent", teller="silent")
    with pytest.raises(ValueError, match="leaves no turn to maker"):
        env.reset(options={"task": "train-2", "turns": team.turns, "files": {}})
    assert env.reset(seed=0)[0]["role"] == "maker"


def test_a_colleague_that_returns_no_text_is_named() -> None:
    env = view("changer", maker=say(3), teller="silent")
    with pytest.raises(TypeError, match=r"others\['maker'\] must return a text; got int"):
        env.reset(seed=0)


def test_wrappers_of_gymnasium_and_pettingzoo_go_around_it() -> None:
    alone = RecordEpisodeStatistics(TimeLimit(view("maker", changer="silent", teller="silent"), 1))
    alone.reset(seed=0)
    assert alone.step(WRITE_A)[2:4] == (False, True)
    twice: Any = MultiEpisodeEnv(OrderEnforcingWrapper(PipelineEnv(FakeScenario(), FakeBackend())), 2)
    twice.reset(seed=0)
    steps = 0
    for _ in twice.agent_iter():
        *_, terminated, truncated, _ = twice.last()
        twice.step(None if terminated or truncated else "done")
        steps += 1
    assert steps == 2 * 6


def test_turns_that_run_out_truncate_the_agent_and_end_its_episode() -> None:
    env = view("changer", maker="silent", teller="silent")
    env.reset(seed=0)
    assert env.step(WRITE_B)[2:4] == (False, False)
    assert env.step(WRITE_B)[2:4] == (True, True)


@pytest.mark.parametrize("action", ["more", None])
def test_a_step_after_the_end_asks_for_a_reset(action: Any) -> None:
    env = view("changer", maker="silent", teller="silent")
    with pytest.raises(AttributeError, match=r"before the first episode: call reset\(\) first"):
        env.step("done")
    env.reset(seed=0)
    assert env.step("done")[2]
    with pytest.raises(RuntimeError, match=r"the episode is over: call reset\(\) first"):
        env.step(action)
    env.reset(seed=0)
    assert env.step("done")[2]

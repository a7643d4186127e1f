"""The contract suite of environments, to run on the bundled ones and on plug-ins.

>>> check(lambda: make("mathchat", sandbox=backend))    # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from gymnasium.utils.env_checker import check_env
from pettingzoo import AECEnv  # type: ignore[import-untyped]
from pettingzoo.test import api_test, seed_test  # type: ignore[import-untyped]

from conf.text import replace_unencodable
from envs.single_agent import SingleAgentEnv
from envs.types import Task, Turn

Act = Callable[[dict[str, Any], int], str]
"""(observation, position in the episode) -> action."""

PRINT_AND_STOP = ("```python\nimport random\nprint(random.random())\n```", "<think>9</think>Done: \\boxed{0}")


def check(make_env: Callable[[], AECEnv], *, act: Act | None = None, num_cycles: int = 100) -> None:
    """Runs PettingZoo's ``api_test`` and ``seed_test``, Gymnasium's ``check_env`` for every agent, and the
    checks below; raises ``AssertionError``.

    ``act`` chooses the actions of the checks of determinism and accounts; by default agents run a program
    that prints a random number and then stop.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about observations that are no arrays and names without numbers
        env = make_env()
        api_test(env, num_cycles=num_cycles)
        env.close()
        seed_test(make_env, num_cycles=num_cycles)
    act = act or (lambda _, index: PRINT_AND_STOP[index % 2])
    check_deterministic(make_env, act)
    check_accounts(make_env, act)
    check_every_agent(make_env)
    check_answer_is_hidden(make_env)


def check_every_agent(make_env: Callable[[], AECEnv]) -> None:
    """Runs Gymnasium's ``check_env`` on every agent alone, whose colleagues say nothing."""
    env = make_env()
    for agent in env.possible_agents:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about texts, which are no arrays
            check_env(SingleAgentEnv(env, agent, "silent"))
    env.close()


def check_accounts(make_env: Callable[[], AECEnv], act: Act, *, seed: int = 7) -> None:
    """Checks that ``last()`` returns exactly the sum of the rewards, every action becomes one turn, and every
    agent learns of the end."""
    env = make_env()
    env.reset(seed=seed)
    due: dict[str, float] = defaultdict(float)
    actions: list[tuple[str, str]] = []
    ended = []
    while env.agents:
        agent = env.agent_selection
        observation, reward, terminated, truncated, info = env.last()
        assert reward == due[agent], f"last() gives {agent} {reward}, but its rewards add up to {due[agent]}"
        due[agent] = 0.0
        if terminated or truncated:
            ended.append(agent)
            assert "outcome" in info, f"{agent} does not learn the outcome"
            env.step(None)
        else:
            action = act(observation, len(actions))
            actions.append((agent, replace_unencodable(action)))
            env.step(action)
            played = [(turn.agent, turn.action) for turn in env.unwrapped.turns]
            assert played == actions, f"turn {len(actions) - 1} of {agent} is lost or changed"
        for name, value in env.rewards.items():
            due[name] += value
    assert sorted(ended) == sorted(env.possible_agents), f"only {ended} learn of the end"
    assert not any(due.values()), f"rewards were never paid: {dict(due)}"
    env.close()


def check_deterministic(make_env: Callable[[], AECEnv], act: Act, *, seed: int = 7) -> None:
    """Checks that two episodes with equal seeds and actions are equal except for times.

    PettingZoo's own test stops at the first termination and samples actions that never run code.
    """
    first, second = (play(make_env(), act, seed=seed) for _ in range(2))
    assert len(first) == len(second), f"{len(first)} and {len(second)} steps"
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        assert one == other, f"step {number} differs:\n{one}\n{other}"


def check_answer_is_hidden(make_env: Callable[[], AECEnv], *, marker: str = "8d1f60c7-answer") -> None:
    """Checks that a task whose answer is ``marker`` shows it neither in observations nor in its ``repr``."""
    env = make_env()
    env.reset(seed=0)
    task: Task = dataclasses.replace(env.unwrapped.task, answer=marker)
    env.reset(seed=0, options={"task": task})
    for agent in env.possible_agents:
        assert marker not in str(env.observe(agent)), f"{agent} sees the answer"
    assert marker not in repr(task), "the answer is in the task's repr"
    env.close()


def play(env: AECEnv, act: Act, *, seed: int) -> list[tuple[Any, ...]]:
    """Plays an episode and returns all its steps (agent, observation, reward, flags, turn without times),
    then all turns and the outcome."""
    env.reset(seed=seed)
    steps: list[tuple[Any, ...]] = []
    while env.agents:
        agent = env.agent_selection
        observation, reward, terminated, truncated, info = env.last()
        turn = info.get("turn")
        steps.append((agent, observation, reward, terminated, truncated, turn and timeless(turn)))
        env.step(None if terminated or truncated else act(observation, len(env.unwrapped.turns)))
    steps.append(tuple(map(timeless, env.unwrapped.turns)))
    steps.append((env.unwrapped.outcome,))
    env.close()
    return steps


def timeless(turn: Turn) -> Turn:
    """Returns ``turn`` with the times of its result, the only difference between equal episodes, set to 0."""
    if turn.result is None:
        return turn
    return dataclasses.replace(turn, result=dataclasses.replace(turn.result, wall_s=0.0, cpu_s=0.0))

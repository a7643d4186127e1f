"""The contract suite of environments, to run on the bundled ones and on plug-ins.

>>> check(lambda: make("mathchat", sandbox=backend))    # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

from pettingzoo import AECEnv  # type: ignore[import-untyped]
from pettingzoo.test import api_test, seed_test  # type: ignore[import-untyped]

from envs.types import Task, Turn

Act = Callable[[dict[str, Any], int], str]
"""(observation, position in the episode) -> action."""

PRINT_AND_STOP = ("```python\nimport random\nprint(random.random())\n```", "<think>9</think>Done: \\boxed{0}")


def check(make_env: Callable[[], AECEnv], *, act: Act | None = None, num_cycles: int = 100) -> None:
    """Runs PettingZoo's ``api_test`` and ``seed_test`` and the checks below; raises ``AssertionError``.

    ``act`` chooses the actions of the determinism check; by default agents run a program that prints a random
    number and then stop.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about observations that are no arrays and names without numbers
        env = make_env()
        api_test(env, num_cycles=num_cycles)
        env.close()
        seed_test(make_env, num_cycles=num_cycles)
    check_deterministic(make_env, act or (lambda _, index: PRINT_AND_STOP[index % 2]))
    check_answer_is_hidden(make_env)


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

"""Training data of the teaching policy's warm start: chats as an environment renders them, and sampled
replies.

Each environment has its demonstrations in a module ``learners.models.tiny_policy.<environment>`` with a
function ``demonstrate(scenario, rng)``.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import conf
from envs.base import Scenario
from envs.observations import conversation
from envs.types import Message, Role, Task, Turn
from sandbox.artifacts import ArtifactCheck
from sandbox.base import Result, Status

T = TypeVar("T")

ENVIRONMENTS = ("dsbench", "mathchat")


@dataclass(frozen=True)
class Demonstration:
    """A chat and a reply to it, which may be good, mediocre or wrong."""

    messages: tuple[Message, ...]
    reply: str


def collect(env_name: str, count: int, seed: int) -> list[Demonstration]:
    """Returns ``count`` demonstrations for an environment with its shipped settings, the same for the same
    arguments.

    In half of them an agent reads only its predecessor's messages, in the other half those of all earlier
    agents.

    Raises:
        conf.ConfigError: there are no demonstrations for this environment.
    """
    check_environment(env_name)
    module = importlib.import_module(f"learners.models.tiny_policy.{env_name}")
    scenarios = [
        conf.build("envs", conf.load("env", env_name, context=context)) for context in ("full", "previous")
    ]
    rng = random.Random(seed)
    return [module.demonstrate(scenarios[n % 2], rng) for n in range(count)]


def check_environment(env_name: str) -> None:
    """Raises ``ConfigError`` if there are no demonstrations, and so no weights, for an environment."""
    if env_name not in ENVIRONMENTS:
        raise conf.ConfigError(
            f"model=tiny has demonstrations for {' and '.join(ENVIRONMENTS)} only, none for env={env_name}: "
            "choose another model"
        )


def chat(scenario: Scenario, prompt: str, role: Role, turns: Sequence[Turn] = ()) -> tuple[Message, ...]:
    """Returns what ``role`` reads of a task after ``turns``, as the environment renders it."""
    task = Task("demonstration", prompt, kind="", answer=None)
    return conversation(scenario, task, turns, role.name, output_chars=0)


def made_up_turn(
    role: Role,
    *,
    attempt: int = 0,
    status: Status | None = "ok",
    stdout: str = "",
    stderr: str = "",
    states: Mapping[str, str] | None = None,
) -> Turn:
    """Returns a fictitious turn with all that its report needs. ``status`` None: an action without code."""
    result = None if status is None else Result(status, int(status != "ok"), stdout, stderr, False, 0.0, 0.0)
    return Turn(
        task_id="demonstration",
        kind="",
        agent=role.name,
        role=role,
        index=0,
        attempt=attempt,
        observation=(),
        action="",
        code=None if result is None else "",
        result=result,
        files_before=(),
        files_after=(),
        checks=tuple(ArtifactCheck(name, code) for name, code in (states or {}).items()),
        last=False,
    )


def pick(rng: random.Random, weights: Mapping[T, float]) -> T:
    """Returns a random key, with probability proportional to its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def program(*lines: str) -> str:
    """Returns the non-empty lines as a fenced python block."""
    return "\n".join(["```python", *(line for line in lines if line), "```"])


def role_named(scenario: Scenario, name: str) -> Role:
    return next(role for role in scenario.roles if role.name == name)


def error_text(name: str) -> str:
    """Returns the end of a traceback, from which a report takes the error's name."""
    return f"{name}: \n"

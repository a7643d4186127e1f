"""What the teaching policy is shown first: chats as an environment writes them, and sampled replies.

A *course* is a module ``learners.models.tiny_policy.<environment>`` with one function, ``demonstrate(scenario, rng)``.
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

COURSES = ("dsbench", "mathchat")


@dataclass(frozen=True)
class Demonstration:
    """One chat and one reply to it, which may be good, mediocre or faulty."""

    messages: tuple[Message, ...]
    reply: str


def collect(env_name: str, count: int, seed: int) -> list[Demonstration]:
    """``count`` demonstrations for an environment with its shipped settings; the same for the same arguments.

    Half of them are in the setting where an agent reads its predecessor only, half where it reads all.

    Raises:
        conf.ConfigError: nobody wrote demonstrations for this environment.
    """
    if env_name not in COURSES:
        raise conf.ConfigError(
            f"model=tiny has demonstrations for {' and '.join(COURSES)} only, none for env={env_name}: "
            "choose another model"
        )
    course = importlib.import_module(f"learners.models.tiny_policy.{env_name}")
    scenarios = [
        conf.build("envs", conf.load("env", env_name, context=context)) for context in ("full", "previous")
    ]
    rng = random.Random(seed)
    return [course.demonstrate(scenarios[n % 2], rng) for n in range(count)]


def chat(scenario: Scenario, prompt: str, role: Role, turns: Sequence[Turn] = ()) -> tuple[Message, ...]:
    """What ``role`` reads of a task with this prompt after ``turns``, by the environment's own rendering."""
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
    """A turn that nobody played, with what its report needs. ``status`` None: the action held no code."""
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
    """One key, with probability proportional to its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def program(*lines: str) -> str:
    """The lines that are not empty as a fenced python block."""
    return "\n".join(["```python", *(line for line in lines if line), "```"])


def role_named(scenario: Scenario, name: str) -> Role:
    return next(role for role in scenario.roles if role.name == name)


def error_text(name: str) -> str:
    """The end of a traceback, from which a report takes the error's name."""
    return f"{name}: \n"

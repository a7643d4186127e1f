"""Demonstrations for MathChat: a plan, a short program with the problem's numbers, a boxed answer.

Problems are generated from the shipped families, but differ from the shipped problems. The policy soon
writes well-formed programs. Copying a problem's numbers, for which there are separate exercises, only begins
to work at the end of the warm start, so that an untrained team rarely solves anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from envs.base import Scenario
from envs.mathchat.problems import FAMILIES, Family, generate
from envs.types import Role, Turn
from learners.models.tiny_policy.demonstrations import (
    Demonstration,
    chat,
    error_text,
    made_up_turn,
    pick,
    program,
    role_named,
)

_SLIPS = (
    (re.compile(r" \+ 1\b"), ""),  # the range ends one too early
    (re.compile("=="), "!="),
    (re.compile(r"\bor\b"), "and"),
    (re.compile("<="), "<"),
    (re.compile(r"\*\*"), "*"),
)
"""Pattern -> replacement: each makes an expression that runs but usually has another value."""
_NO_SLIP = 0.6
"""Probability of an expression without a slip."""
_COPYING = 0.15
"""Share of copying exercises."""


@dataclass(frozen=True)
class _Problem:
    family: Family
    numbers: Mapping[str, int]

    @property
    def text(self) -> str:
        return self.family.problem(self.numbers)

    @property
    def given(self) -> str:
        """The numbers in alphabetical order of their names, which is their order in the problem: ``46, 4,
        10``."""
        return ", ".join(str(self.numbers[name]) for name in sorted(self.numbers))

    @property
    def names(self) -> str:
        return ", ".join(sorted(self.numbers))

    @property
    def expression(self) -> str:
        """The family's expression with names, so that numbers are copied in one place, once and in order."""
        quoted = re.sub(r"'\{(\w)\}'", r"str({\1})", self.family.expression)
        return quoted.format(**{name: name for name in self.numbers})


def demonstrate(scenario: Scenario, rng: random.Random) -> Demonstration:
    """Returns a chat of one role and a reply, most often of the executor, who has the most to learn."""
    if rng.random() < _COPYING:
        return _copying(scenario, rng)
    problem = _draw(rng)
    prompt = f"## Problem: {problem.text}"
    solver, executor, verifier = (
        role_named(scenario, name) for name in ("problem_solver", "code_executor", "verifier")
    )
    agent = pick(rng, {solver.name: 0.2, executor.name: 0.5, verifier.name: 0.3})
    if agent == solver.name:
        plan = f"Given {problem.given}. Compute {_slipped(problem.expression, rng)}"
        return Demonstration(chat(scenario, prompt, solver), plan)
    turns = [made_up_turn(solver, status=None)]
    if agent == verifier.name:
        turns.append(_computed(executor, problem, rng))
        return Demonstration(chat(scenario, prompt, verifier, turns), _answer(turns[-1], rng))
    if rng.random() < 0.7:
        return Demonstration(chat(scenario, prompt, executor, turns), _code(problem, rng))
    turns.append(_computed(executor, problem, rng))
    return Demonstration(chat(scenario, prompt, executor, turns), _report(turns[-1], problem, rng))


def _copying(scenario: Scenario, rng: random.Random) -> Demonstration:
    """Returns an exercise that only copies numbers, twice: a skill that all three roles need."""
    numbers = ", ".join(str(rng.randrange(10 ** rng.randint(1, 4))) for _ in range(rng.randint(2, 8)))
    role = rng.choice(scenario.roles)
    return Demonstration(chat(scenario, f"## Problem: Copy {numbers}", role), f"{numbers}\n{numbers}")


def _draw(rng: random.Random) -> _Problem:
    while True:
        family = rng.choice(FAMILIES)
        problem = _Problem(family, family.draw(rng))
        if problem.text not in _shipped():
            return problem


@cache
def _shipped() -> frozenset[str]:
    return frozenset(str(record["problem"]) for record in generate())


def _slipped(expression: str, rng: random.Random) -> str:
    """Returns the expression, or with probability ``1 - _NO_SLIP`` one with a slip."""
    slips = [(pattern, new) for pattern, new in _SLIPS if pattern.search(expression)]
    if rng.random() < _NO_SLIP or not slips:
        return expression
    pattern, new = rng.choice(slips)
    return pattern.sub(new, expression, count=1)


def _code(problem: _Problem, rng: random.Random) -> str:
    body = _slipped(problem.expression, rng)
    silent = rng.random() < 0.15
    return program(f"{problem.names} = {problem.given}", f"answer = {body}" if silent else f"print({body})")


def _computed(executor: Role, problem: _Problem, rng: random.Random) -> Turn:
    """Returns a turn whose program usually printed a number, but may have failed or printed nothing."""
    kind = pick(rng, {"printed": 0.85, "silent": 0.08, "failed": 0.07})
    if kind == "failed":
        return made_up_turn(executor, status="error", stderr=error_text("SyntaxError"))
    value = (
        problem.family.answer(problem.numbers)
        if rng.random() < 0.3
        else rng.randrange(10 ** rng.randint(1, 4))
    )
    return made_up_turn(executor, stdout=f"{value}\n" if kind == "printed" else "")


def _report(last: Turn, problem: _Problem, rng: random.Random) -> str:
    """Usually reports a printed value; without one, usually writes another program."""
    printed = _printed(last)
    if rng.random() < 0.2:
        return "I cannot compute it."
    return f"The result is {printed}." if printed else _code(problem, rng)


def _answer(computed: Turn, rng: random.Random) -> str:
    printed = _printed(computed)
    habit = pick(rng, {"copied": 0.6, "wrong": 0.2, "unboxed": 0.2})
    if habit == "wrong" or not printed:
        return f"\\boxed{{{rng.randrange(1000)}}}"
    return f"\\boxed{{{printed}}}" if habit == "copied" else f"The answer is {printed}."


def _printed(turn: Turn) -> str:
    return "" if turn.result is None else turn.result.stdout.strip()

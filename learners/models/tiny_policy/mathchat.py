"""The course on mathematics: a plan, a short program with the problem's numbers, a boxed answer.

Problems are made on the fly from the families that ship with us, other than the ones that ship. Programs come
out in form soon. Copying a problem's numbers, which exercises train apart, has only begun to work at the end
of the warm start, so that an untrained team seldom solves anything.
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

_FAULTS = (
    (re.compile(r" \+ 1\b"), ""),  # one short at the end of a range
    (re.compile("=="), "!="),
    (re.compile(r"\bor\b"), "and"),
    (re.compile("<="), "<"),
    (re.compile(r"\*\*"), "*"),
)
"""Slips: each turns an expression into one that runs and, as a rule, gives another value."""
_RIGHT = 0.6
"""Probability of an expression without a slip."""
_COPYING = 0.15
"""Share of exercises in copying."""


@dataclass(frozen=True)
class _Problem:
    family: Family
    numbers: Mapping[str, int]

    @property
    def text(self) -> str:
        return self.family.problem(self.numbers)

    @property
    def given(self) -> str:
        """The numbers in the problem's order, which is that of their names: ``46, 4, 10``."""
        return ", ".join(str(self.numbers[name]) for name in sorted(self.numbers))

    @property
    def names(self) -> str:
        return ", ".join(sorted(self.numbers))

    @property
    def expression(self) -> str:
        """The family's expression on names, so that numbers are copied in one place, once and in order."""
        quoted = re.sub(r"'\{(\w)\}'", r"str({\1})", self.family.expression)
        return quoted.format(**{name: name for name in self.numbers})


def demonstrate(scenario: Scenario, rng: random.Random) -> Demonstration:
    """One chat of one role and what it answers. The one who computes comes up most: it has most to learn."""
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
    """An exercise that is nothing but copying, twice over: what all three roles have to do to numbers."""
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
    """The expression, or with probability ``1 - _RIGHT`` one with a slip."""
    slips = [(pattern, new) for pattern, new in _FAULTS if pattern.search(expression)]
    if rng.random() < _RIGHT or not slips:
        return expression
    pattern, new = rng.choice(slips)
    return pattern.sub(new, expression, count=1)


def _code(problem: _Problem, rng: random.Random) -> str:
    body = _slipped(problem.expression, rng)
    silent = rng.random() < 0.15
    return program(f"{problem.names} = {problem.given}", f"answer = {body}" if silent else f"print({body})")


def _computed(executor: Role, problem: _Problem, rng: random.Random) -> Turn:
    """What the program did: printed a number, mostly; or failed, or printed nothing."""
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
    """After a printed value: its report, mostly; after none: another program, mostly."""
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

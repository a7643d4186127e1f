"""The scripted problem solver, code executor and verifier."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.corpus import habits
from benchmarks.corpus.reading import first_action, last_status, marked, own_turns, printed, section
from benchmarks.corpus.styles import WAYS, Manner, program
from envs.mathchat.problems import FAMILIES, Family
from envs.types import Message

_PROSE = (
    "Let me read the question again, slowly. The numbers in it are given, nothing else is, and what is asked "
    "for is one whole number. There may be a clever way, but the range is small enough to go through every "
    "case, and that cannot be wrong as long as the bounds and the conditions are those of the text."
)
_CHECK = (
    "I have gone through the plan and through the output of the program. The plan answers the question that "
    "was asked, the program ran to its end, and the size of the number is what one would expect."
)
_LOOKING = "First the numbers that go in."
_SLIP = "print(anwser)"


def problem_solver(messages: Sequence[Message], manner: Manner) -> str:
    """Writes a plan with the expression to compute."""
    considered = habits.READING[manner.habit].format(guess=_number(messages))
    plan = f"Plan: go through all cases with a short program.\nCompute: {_solve(messages)}"
    return manner.prose(_PROSE) + (f"{considered}\n\n{plan}" if considered else plan)


def code_executor(messages: Sequence[Message], manner: Manner) -> str:
    """Writes the plan's expression as a program; without a plan, its own expression."""
    expression = marked(section(messages, "problem_solver"), "Compute") or _solve(messages)
    turn = own_turns(messages)
    if turn == 0 and manner.style in ("explorer", "repairer"):
        return _opening(manner, expression)
    first = first_action(messages)
    if first.startswith(_LOOKING) or _SLIP in first:
        turn -= 1
    if turn == 0:
        return manner.prose("This is the plan, word for word, as a program.") + program(
            _code(expression, messages, manner)
        )
    if last_status(messages) != "ok" or (value := printed(messages[-1].content)) is None:
        return "The program gave no result."
    return f"The program ran.\nResult: {value}"


def verifier(messages: Sequence[Message], manner: Manner) -> str:
    """Boxes the result that the executor reports, or else the last printed line."""
    handover = section(messages, "code_executor")
    value = marked(handover, "Result") or printed(handover)
    if value is None:
        return "No result was printed, so I cannot give an answer."
    answer = habits.ANSWER[manner.habit].format(value=value, number=_number(messages))
    return manner.prose(_CHECK) + answer


def _number(messages: Sequence[Message]) -> str:
    """Returns the first number of the problem."""
    [problem] = re.findall(r"^## Problem: (.*)$", messages[1].content, re.MULTILINE)
    return str(re.findall(r"\d+", problem)[0])


def _solve(messages: Sequence[Message]) -> str:
    """Returns the expression that solves the problem. Raises ``ValueError`` for a problem of no known
    family."""
    for family in FAMILIES:
        if (match := re.search(_pattern(family), messages[1].content)) is not None:
            return family.expression.format(**match.groupdict())
    raise ValueError("the problem belongs to no bundled family")


def _pattern(family: Family) -> str:
    """Returns a regular expression of the family's text, with a group for every number."""
    parts = re.split(r"\{(\w)\}", family.text)
    return "".join(
        rf"(?P<{part}>\d+)" if position % 2 else re.escape(part) for position, part in enumerate(parts)
    )


def _opening(manner: Manner, expression: str) -> str:
    if manner.style == "explorer":
        numbers = ", ".join(re.findall(r"\d+", expression)[:6])
        return f"{_LOOKING}\n" + program(f'print("numbers:", {numbers})')
    return program(f"answer = {expression}\n{_SLIP}")


def _code(expression: str, messages: Sequence[Message], manner: Manner) -> str:
    if manner.habit == 0 and manner.way % WAYS:
        return f"answer = {expression}\nprint(answer)"
    return habits.PROGRAM[manner.habit].format(expression=expression, number=_number(messages))

"""Plan, program, printed value, report, answer: does each follow from the one before?

For teams without files: a planner that cannot run code, a programmer, and one who answers in a box."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coaches.audits import expressions
from coaches.audits.findings import Finding
from coaches.evidence import checks
from envs.actions import fences
from envs.actions.parsing import strip_thinking
from envs.actions.python_text import parsed
from envs.mathchat.answers import boxed
from envs.types import Outcome, Turn

Evaluate = Callable[[str], str | None]
"""Runs a program in a sandbox and returns the last line that it prints; None if it fails, "" if that cannot
be told."""

_MOST_EXPRESSIONS = 20


@dataclass(frozen=True)
class _Plan:
    """What a plan says to compute."""

    turn: Turn
    expression: str | None
    """The one whose value the program printed, or else the last one; None if there is none."""
    value: str | None
    """What it gives; None if it gives no value, "" if that cannot be told."""
    followed: bool
    """Whether the program printed its value."""


def examine(turns: Sequence[Turn], outcome: Outcome | None, evaluate: Evaluate) -> list[Finding]:
    """Returns what contradicts in the chain. ``outcome``: None while it is not known."""
    planner = next((turn for turn in turns if not turn.role.can_run_code and not _answers(turn)), None)
    programs = [turn for turn in turns if turn.role.can_run_code and turn.code is not None]
    printed = checks.printed(programs[-1]) if programs else None
    plan = None if planner is None else _read(planner, printed, evaluate)
    findings: list[Finding] = []
    if plan is not None:
        findings += _constants(plan)
        if programs:
            findings += _program(plan, programs[-1])
    findings += [one for turn in turns for one in _reports(turns[: turn.index + 1])]
    if turns and _answers(turns[-1]):
        findings += _answer(turns)
    proven = any(one.strength == "proof" for one in findings)
    if plan is not None and programs and outcome is not None and not outcome.success and not proven:
        findings += _remaining(plan, turns)
    return findings


def _read(turn: Turn, printed: str | None, evaluate: Evaluate) -> _Plan:
    """Finds what a program followed among all expressions of a plan: whoever appends another one, or puts
    tags of thinking around it, takes nothing back. What is only thought counts if it was followed."""
    spoken = expressions.of_plan(strip_thinking(turn.action))
    thought = [one for one in expressions.of_plan(_with_thoughts(turn.action)) if one not in spoken]
    values: dict[str, str | None] = {}
    for one in [*spoken, *(thought if printed is not None else ())]:
        values[one] = evaluate(f"print({one})") if len(values) < _MOST_EXPRESSIONS else ""
        if values[one] == "":
            break
        if printed is not None and values[one] and checks.agrees(printed, values[one] or ""):
            return _Plan(turn, one, values[one], followed=True)
    chosen = next((one for one in spoken if one in values and values[one] is None), next(iter(spoken), None))
    unknown = "" in values.values()
    return _Plan(turn, chosen, "" if unknown or chosen is None else values[chosen], followed=False)


def _with_thoughts(action: str) -> str:
    return fences.TAG.sub("", action)


def _answers(turn: Turn) -> bool:
    return "\\boxed" in turn.role.instructions and not turn.role.can_run_code


def _constants(plan: _Plan) -> list[Finding]:
    """Returns which number of the problem a plan replaced. A bound of a range or a comparison may be one off,
    for "less than": that is a doubt."""
    if plan.expression is None:
        return []
    problem = next((message.content for message in plan.turn.observation if message.role == "user"), "")
    given = expressions.numbers(problem.partition("\n## From ")[0])
    used = expressions.numbers(plan.expression)
    used |= {part for text in _texts(plan.expression) for part in expressions.numbers(text)}
    missing, other = sorted(given - used), sorted(used - given - {"0", "1", "2"})
    if not (missing and other):
        return []
    text = f"the plan computes with {', '.join(other[:3])}, and the problem has {', '.join(missing[:3])}"
    ends = expressions.bounds(plan.expression)
    near = all(one in ends and any(abs(float(one) - float(old)) <= 1.0 for old in missing) for one in other)
    return [Finding("constants", plan.turn.index, "doubt" if near else "proof", text)]


def _texts(expression: str) -> list[str]:
    tree = parsed(expression)
    nodes = [] if tree is None else list(ast.walk(tree))
    return [one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _program(plan: _Plan, turn: Turn) -> list[Finding]:
    """Compares what a program printed with what the plan's expressions give."""
    if plan.expression is None or plan.followed:
        return []
    if plan.value is None:
        text = f"the plan's expression gives no value: {plan.expression[:100]}"
        return [Finding("plan", plan.turn.index, "proof", text)]
    printed = checks.printed(turn)
    if printed is None or not plan.value:
        return []
    text = (
        f"printed {printed[:40]}, and the plan's expression gives {plan.value[:40]}: {plan.expression[:100]}"
    )
    return [Finding("program", turn.index, "proof", text)]


def _reports(history: Sequence[Turn]) -> list[Finding]:
    """A programmer that reports another number than it printed, be it within tags of thinking."""
    turn = history[-1]
    if turn.code is not None or not turn.role.can_run_code:
        return []
    printed = checks.last_printed(history)
    if printed is None or printed[1] != turn.agent or checks.mentions(turn.action, printed[0]):
        return []
    if not any(checks.contradicts(text, printed[0]) for text in (turn.action, _with_thoughts(turn.action))):
        return []
    return [Finding("report", turn.index, "proof", f"does not report the printed value {printed[0][:60]}")]


def _answer(turns: Sequence[Turn]) -> list[Finding]:
    turn = turns[-1]
    answer, printed = boxed(strip_thinking(turn.action)), checks.last_printed(turns[:-1])
    if printed is None:
        return []
    if answer is None:
        return [Finding("answer", turn.index, "proof", f"boxes nothing, and {printed[0][:60]} was printed")]
    if checks.agrees(answer, printed[0]):
        return []
    return [Finding("answer", turn.index, "proof", f"boxes {answer[:40]}, and {printed[0][:60]} was printed")]


def _remaining(plan: _Plan, turns: Sequence[Turn]) -> list[Finding]:
    """The answer is wrong and is what was printed, which is what the plan gives: then the plan is wrong."""
    printed = checks.last_printed(turns)
    if plan.expression is None or printed is None:
        return []
    text = f"the wrong answer {printed[0][:40]} is what the plan's expression gives: {plan.expression[:100]}"
    return [Finding("plan", plan.turn.index, "proof", text)]

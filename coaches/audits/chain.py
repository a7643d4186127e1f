"""Plan, program, printed value, report, answer: does each follow from the one before?

For teams without files: a planner that cannot run code, a programmer, and one who answers in a box."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from coaches.audits import expressions
from coaches.audits.findings import Finding
from coaches.evidence import checks
from envs.actions.parsing import strip_thinking
from envs.actions.python_text import parsed
from envs.mathchat.answers import boxed
from envs.types import Outcome, Turn

Evaluate = Callable[[str], str | None]
"""Runs a program in a sandbox and returns the last line that it prints; None if it fails, "" if that cannot
be told."""


def examine(turns: Sequence[Turn], outcome: Outcome | None, evaluate: Evaluate) -> list[Finding]:
    """Returns what contradicts in the chain. ``outcome``: None while it is not known."""
    plan = next((turn for turn in turns if not turn.role.can_run_code and not _answers(turn)), None)
    programs = [turn for turn in turns if turn.role.can_run_code and turn.code is not None]
    findings: list[Finding] = []
    if plan is not None and (found := _constants(plan)) is not None:
        findings.append(found)
    if programs:
        findings += _program(plan, programs[-1], evaluate)
    findings += [one for turn in turns for one in _reports(turns[: turn.index + 1])]
    if turns and _answers(turns[-1]):
        findings += _answer(turns)
    if outcome is not None and not outcome.success and not any(one.strength == "proof" for one in findings):
        findings += _remaining(plan, programs, turns, evaluate)
    return findings


def _answers(turn: Turn) -> bool:
    return "\\boxed" in turn.role.instructions and not turn.role.can_run_code


def _constants(plan: Turn) -> Finding | None:
    """Returns which number of the problem a plan replaced; None if none. A bound of
    a range or a comparison may be one off, for "less than": that is a doubt."""
    problem = next((message.content for message in plan.observation if message.role == "user"), "")
    expression = expressions.of_plan(strip_thinking(plan.action))
    if expression is None:
        return None
    given, used = expressions.numbers(problem.partition("\n## From ")[0]), expressions.numbers(expression)
    used |= {part for text in _texts(expression) for part in expressions.numbers(text)}
    missing, other = sorted(given - used), sorted(used - given - {"0", "1", "2"})
    if not (missing and other):
        return None
    text = f"the plan computes with {', '.join(other[:3])}, and the problem has {', '.join(missing[:3])}"
    ends = expressions.bounds(expression)
    near = all(one in ends and any(abs(float(one) - float(old)) <= 1.0 for old in missing) for one in other)
    return Finding("constants", plan.index, "doubt" if near else "proof", text)


def _texts(expression: str) -> list[str]:
    tree = parsed(expression)
    nodes = [] if tree is None else list(ast.walk(tree))
    return [one.value for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _program(plan: Turn | None, turn: Turn, evaluate: Evaluate) -> list[Finding]:
    """Compares what a program printed with what the plan's expression gives."""
    expression = None if plan is None else expressions.of_plan(strip_thinking(plan.action))
    if expression is None or plan is None:
        return []
    wanted = evaluate(f"print({expression})")
    value = checks.printed(turn)
    if wanted is None:
        text = f"the plan's expression gives no value: {expression[:100]}"
        return [Finding("plan", plan.index, "proof", text)]
    if value is None or not wanted or checks.agrees(value, wanted):
        return []
    text = f"printed {value[:40]}, and the plan's expression gives {wanted[:40]}: {expression[:100]}"
    return [Finding("program", turn.index, "proof", text)]


def _reports(history: Sequence[Turn]) -> list[Finding]:
    """A programmer that reports another number than it printed."""
    turn = history[-1]
    if turn.code is not None or not turn.role.can_run_code:
        return []
    printed = checks.last_printed(history)
    if printed is None or printed[1] != turn.agent or not checks.contradicts(turn.action, printed[0]):
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


def _remaining(
    plan: Turn | None, programs: Sequence[Turn], turns: Sequence[Turn], evaluate: Evaluate
) -> list[Finding]:
    """The answer is wrong and is what was printed, which is what the plan gives: then the plan is wrong."""
    printed = checks.last_printed(turns)
    expression = None if plan is None else expressions.of_plan(strip_thinking(plan.action))
    if plan is None or expression is None or printed is None or not programs:
        return []
    text = f"the wrong answer {printed[0][:40]} is what the plan's expression gives: {expression[:100]}"
    return [Finding("plan", plan.index, "proof", text)]

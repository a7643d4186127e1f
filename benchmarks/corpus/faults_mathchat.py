"""Faults of problem solver, code executor and verifier. None breaks a file, and most still print a number."""

from __future__ import annotations

import re

from benchmarks.corpus.faults import Change, Fault
from envs.types import Task

_MISREADINGS = (
    (" or n %", " and n %"),
    ("!= 0", "== 0"),
    ("<=", "<"),
    ("s[-1] + s[-2]", "s[-1] + s[-1]"),
    (" in str(n)", " == str(n)[-1]"),
    (" ** ", " * "),
    ("{} + 1) if", "{}) if"),
    ("all(n % k", "any(n % k"),
    (" and n %", " or n %"),
    ("% n == 0", "// n % 2 == 0"),
)
"""(condition, misread condition)"""


def number(change: int, *, position: int, anchor: str = "") -> Change:
    """Changes the number at ``position`` after ``anchor`` by ``change``; 0 and 1 do not count."""

    def changed_action(action: str, task: Task) -> str | None:
        at = action.find(anchor)
        numbers = list(re.finditer(r"(?<![\w*])\d+", action[at:])) if at >= 0 else []
        numbers = [match for match in numbers if int(match[0]) > 1]
        if len(numbers) <= position:
            return None
        match = numbers[position]
        return f"{action[: at + match.start()]}{int(match[0]) + change}{action[at + match.end() :]}"

    return changed_action


def _misread(action: str, task: Task) -> str | None:
    """Misreads one condition of the plan."""
    head, mark, expression = action.partition("Compute: ")
    for old, new in _MISREADINGS:
        if old in expression:
            return head + mark + expression.replace(old, new, 1)
    return None


def _off_by_one(action: str, task: Task) -> str | None:
    """Moves the upper end of the outermost range, which comes last, by one."""
    ranges = list(re.finditer(r"range\([^()]*?( \+ 1)?\)", action))
    if not ranges:
        return None
    last = ranges[-1]
    changed = last[0].replace(" + 1)", ")") if last[1] else last[0][:-1] + " + 1)"
    return action[: last.start()] + changed + action[last.end() :]


def _swallowed(action: str, task: Task) -> str | None:
    """The program catches its own error and prints 0 as if it were a result."""
    code = re.search(r"```python\n(.*?)\n```", action, re.DOTALL)
    if code is None:
        return None
    expression = re.sub(r"\nprint\(answer\)$|^answer = ", "", code[1])
    expression = (
        expression.removeprefix("print(").removesuffix(")") if code[1].startswith("print(") else expression
    )
    body = f"answer = 0\ntry:\n    answer = total({expression})\nexcept Exception:\n    pass\nprint(answer)"
    return action.replace(code[1], body)


def _floats(action: str, task: Task) -> str | None:
    """Computes powers in floating point, of which only the first digits are right."""
    changed = re.sub(r"(\d+) \*\* (\d+)", r"int(float(\1) ** \2)", action)
    return changed if changed != action else None


def _part(action: str, task: Task) -> str | None:
    """Prints the number of terms instead of their sum."""
    changed = action.replace("sum(n for", "len([n for").replace("sum(int(c) for", "len([c for")
    return changed.replace("))", ")])", 1) if changed != action else None


def boxed(digits: str) -> str:
    return f"\\boxed{{{digits}}}"


def in_box(change: Change) -> Change:
    """Applies ``change`` to the boxed digits."""

    def changed_action(action: str, task: Task) -> str | None:
        box = re.search(r"\\boxed\{(\d+)\}", action)
        new = None if box is None else change(box[1], task)
        return None if box is None or new is None else action.replace(box[0], new)

    return changed_action


def _swapped(digits: str, task: Task) -> str | None:
    new = digits[:-2] + digits[:-3:-1] if len(digits) > 1 else digits
    return boxed(new) if int(new) != int(digits) else None


def _estimate(digits: str, task: Task) -> str | None:
    rough = round(int(digits), -1) + 20
    return f"{digits}, says the program, but a rough estimate in my head gives {boxed(str(rough))}"


def _unboxed(digits: str, task: Task) -> str | None:
    return f"{digits}."


def _more(digits: str, task: Task) -> str | None:
    return f"{digits}, and one more for the end of the range that it left out: {boxed(str(int(digits) + 1))}"


def _misreported(action: str, task: Task) -> str | None:
    """Reports another number than the program printed."""
    result = re.search(r"^Result: (\d+)$", action, re.MULTILINE)
    return None if result is None else action.replace(result[0], f"Result: {int(result[1]) + 10}")


FAULTS = (
    Fault("wrong_constant", "problem_solver", number(1, position=0, anchor="Compute: "), "note"),
    Fault("wrong_constant", "problem_solver", number(-1, position=1, anchor="Compute: "), "note"),
    Fault("wrong_premise", "problem_solver", _misread, "note"),
    Fault("off_by_one", "code_executor", _off_by_one),
    Fault("constant_mistyped", "code_executor", number(2, position=0, anchor="```python")),
    Fault("constant_mistyped", "code_executor", number(-1, position=1, anchor="```python")),
    Fault("error_swallowed", "code_executor", _swallowed),
    Fault("inexact", "code_executor", _floats, narrow=True),
    Fault("counted_not_summed", "code_executor", _part, narrow=True),
    Fault("misreported", "code_executor", _misreported, "note"),
    Fault("result_ignored", "verifier", in_box(_estimate), "note"),
    Fault("result_mended", "verifier", in_box(_more), "note"),
    Fault("digits_swapped", "verifier", in_box(_swapped), "note"),
    Fault("unboxed", "verifier", in_box(_unboxed), "note"),
)

"""Faults of problem solver, code executor and verifier of the second edition: another question is solved, a
program goes wrong without an error, or the answer is not the result.

Whoever wrote them had not seen how any coach looks for faults.
"""

from __future__ import annotations

import re

from benchmarks.corpus.faults import Change, Fault, Step
from benchmarks.corpus.faults_mathchat import boxed, in_box
from envs.types import Task

_EDITION = 2
_RANGE = r"range\((?:[^()]|\([^()]*\))*\)"
_OTHER_QUESTION = (
    (r"sum\(n for n", "max(n for n"),
    (r"sum\('(\d)' in str\(n\)", r"sum(str(n).count('\1')"),
    (r"sum\((\d+ % n == 0) for n", r"sum(n * (\1) for n"),
    (r"sum\((n % \d+ == 0 and n % \d+ != 0) for n", r"sum(n * (\1) for n"),
    (
        r"next\(n for n in range\(1, (\d+) \* (\d+) \+ 1\) if .*",
        r"max(n for n in range(1, \1 + 1) if \1 % n == 0 and \2 % n == 0)",
    ),
    (r"sum\(int\(c\) for c in (str\(.*\))\)$", r"len(\1)"),
    (r"^(\d+ \*\* \d+) % \d+$", r"\1 % 10"),
    (r"x \* x \+ y \* y <= ", "x * x + y * y == "),
    (r"s\[(\d+) - 1\] %", r"sum(s[:\1]) %"),
    (r"all\(n % k or (\d+) % k for k in range\(2, \d+ \+ 1\)\)", r"n % \1 > 0"),
)
"""The expression of a question, and of another that sounds like it: the largest instead of the sum, digits
instead of numbers that contain them, the greatest common divisor instead of the least common multiple."""
_DOMAIN = (
    (r"range\(-\d+, ", "range(1, "),
    (r"for n in range\((?!1,)\d+, ", "for n in range(1, "),
    (r"for n in range\(1, (\d+)", r"for n in range(-\1, \1"),
    (r"s\[(\d+) - 1\]", r"s[\1]"),
)
_SIGN = (
    (r"s\[-1\] \+ s\[-2\]", "s[-1] - s[-2]"),
    (r"x \* x \+ y \* y", "x * x - y * y"),
    (r"^(\d+ \*\* \d+) % ", r"-(\1) % "),
    (r" \+ 1\)", " - 1)"),
)
_CONDITION = (
    (r" (?:and|or) n % \d+ [!=]= 0", ""),
    (r"\] % \d+\]\[-1\]", "]][-1]"),
    (r"^(\d+ \*\* \d+) % \d+$", r"\1"),
    (r"n % k or \d+ % k", "n % k"),
)


def _plan(*rules: tuple[str, str]) -> Change:
    """Applies the first rule that changes the plan's expression, wherever it fits."""

    def change(action: str, task: Task) -> str | None:
        head, mark, expression = action.partition("Compute: ")
        for pattern, new in rules:
            if (changed := re.sub(pattern, new, expression)) != expression:
                return head + mark + changed
        return None

    return change


def _exchanged(action: str, task: Task) -> str | None:
    """The first two numbers of the plan's expression take each other's places."""
    head, mark, expression = action.partition("Compute: ")
    numbers = list(dict.fromkeys(re.findall(r"(?<![\w-])\d+\b", expression)))
    numbers = [number for number in numbers if int(number) > 1][:2]
    if len(numbers) < 2:
        return None
    other = dict(zip(numbers, numbers[::-1], strict=True))
    return head + mark + re.sub(r"(?<![\w-])\d+\b", lambda match: other.get(match[0], match[0]), expression)


def _code(pattern: str, new: str) -> Change:
    """Changes the first place of the program that ``pattern`` fits."""

    def change(action: str, task: Task) -> str | None:
        head, mark, code = action.partition("```python\n")
        changed = re.sub(pattern, new, code, count=1)
        return head + mark + changed if changed != code else None

    return change


def _cut_short(action: str, task: Task) -> str | None:
    """The last range of the program is cut off after 20 values."""
    ranges = list(re.finditer(_RANGE, action))
    return None if not ranges else f"{action[: ranges[-1].end()]}[:20]{action[ranges[-1].end() :]}"


def _more_printed(action: str, task: Task) -> str | None:
    """The program prints the number of cases after the answer."""
    ranges = re.findall(_RANGE, action)
    return action.replace("\n```", f"\nprint(len({ranges[-1]}))\n```") if ranges else None


def _assigned(action: str, task: Task) -> str | None:
    """The sum becomes a loop that forgets to add."""
    total = re.search(r"sum\((.+) for (\w) in (.+?)(?: if (.+))?\)\)?$", action, re.MULTILINE)
    if total is None or " for x" in total[1]:
        return None
    term, name, values, condition = total.groups()
    values += ")" * (values.count("(") - values.count(")"))
    body = f"answer = int({term})"
    if condition is not None:
        body = f"if {condition.rstrip(')')}:\n        {body}"
    head, mark, _ = action.partition("```python\n")
    return f"{head}{mark}answer = 0\nfor {name} in {values}:\n    {body}\nprint(answer)\n```"


def _guessed(action: str, task: Task) -> str | None:
    """The program prints a number that nobody computed."""
    head, mark, _ = action.partition("```python\n")
    guess = int(task.answer[0]) * 5 // 4 + 7
    return f"{head}{mark}# The same kind of question as before, so the value is known.\nprint({guess})\n```"


def _negative(action: str, task: Task) -> str | None:
    changed = re.sub(r"^Result: (\d+)$", r"Result: -\1", action, flags=re.MULTILINE)
    return changed if changed != action else None


def _given(digits: str, task: Task) -> str | None:
    """A number of the question instead of the result."""
    return boxed(re.findall(r"\d+", task.prompt)[-1])


def _hedged(digits: str, task: Task) -> str | None:
    return boxed(f"{digits} \\text{{ or }} {int(digits) + 1}")


def _last_digit(digits: str, task: Task) -> str | None:
    return f"{digits}, of which the last digit is {boxed(digits[-1])}" if len(digits) > 1 else None


def _twice(digits: str, task: Task) -> str | None:
    more = boxed(str(int(digits) + 1))
    return f"{boxed(digits)} if the ends do not count, and if they do, {more}"


def _rounded(digits: str, task: Task) -> str | None:
    return f"{digits}, in round numbers {boxed(str(round(int(digits), -1)))}"


def _hundredths(digits: str, task: Task) -> str | None:
    return f"{digits} of a hundred, so {boxed(str(int(digits) / 100))}"


def _fault(kind: str, agent: str, change: Change, step: Step = "note") -> Fault:
    return Fault(kind, agent, change, step, edition=_EDITION)


FAULTS = (
    _fault("variables_swapped", "problem_solver", _exchanged),
    _fault("other_question", "problem_solver", _plan(*_OTHER_QUESTION)),
    _fault("domain_misstated", "problem_solver", _plan(*_DOMAIN)),
    _fault("sign_error", "problem_solver", _plan(*_SIGN)),
    _fault("condition_dropped", "problem_solver", _plan(*_CONDITION)),
    _fault("operator_slip", "code_executor", _code(" % ", " // "), "program"),
    _fault("cut_short", "code_executor", _cut_short, "program"),
    _fault("rounded_off", "code_executor", _code(r"print\((.+)\)", r"print(round(\1, -1))"), "program"),
    _fault("last_line_other", "code_executor", _more_printed, "program"),
    _fault("assigned_not_added", "code_executor", _assigned, "program"),
    _fault("guessed_in_code", "code_executor", _guessed, "program"),
    _fault("sign_error", "code_executor", _negative),
    _fault("given_number_boxed", "verifier", in_box(_given)),
    _fault("hedged", "verifier", in_box(_hedged)),
    _fault("reduced_again", "verifier", in_box(_last_digit)),
    _fault("two_answers", "verifier", in_box(_twice)),
    _fault("rounded_off", "verifier", in_box(_rounded)),
    _fault("hundredths", "verifier", in_box(_hundredths)),
)

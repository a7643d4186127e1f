"""The bundled problems; ``python -m envs.mathchat.problems`` writes ``problems.json``.

Each family has a text and an expression with the same numbers, so that a small model can learn to translate
the text into the expression. All answers are exact integers from 0 to 999.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PATH = Path(__file__).with_name("problems.json")
PER_FAMILY = 16


def _always(**_: int) -> bool:
    return True


@dataclass(frozen=True)
class Family:
    """A family of problems that differ only in their numbers."""

    name: str
    text: str
    """The problem in one line, with ``{a}``, ``{b}``, … for the numbers."""
    expression: str
    """A Python expression with the same numbers that computes the answer by brute force."""
    numbers: Mapping[str, range]
    valid: Callable[..., bool] = field(default=_always, compare=False)

    def draw(self, rng: random.Random) -> dict[str, int]:
        """Draws numbers for one problem until they are valid and the answer is from 0 to 999."""
        while True:
            drawn = {name: rng.choice(values) for name, values in self.numbers.items()}
            if self.valid(**drawn) and 0 <= self.answer(drawn) <= 999:
                return drawn

    def problem(self, numbers: Mapping[str, int]) -> str:
        return self.text.format(**numbers)

    def program(self, numbers: Mapping[str, int]) -> str:
        """Returns one line of Python that prints the answer."""
        return f"print({self.expression.format(**numbers)})"

    def answer(self, numbers: Mapping[str, int]) -> int:
        """Returns the exact answer. Evaluates only expressions of this file."""
        return int(eval(self.expression.format(**numbers), {}))


FAMILIES = (
    Family(
        "multiples_sum",
        "Add up all positive integers below {a} that are multiples of {b} or of {c}. What is the sum?",
        "sum(n for n in range(1, {a}) if n % {b} == 0 or n % {c} == 0)",
        {"a": range(20, 61), "b": range(3, 10), "c": range(4, 13)},
        lambda a, b, c: b < c,
    ),
    Family(
        "divisible_count",
        "How many of the integers from {a} to {b} are divisible by {c} but not by {d}?",
        "sum(n % {c} == 0 and n % {d} != 0 for n in range({a}, {b} + 1))",
        {"a": range(10, 60), "b": range(100, 400), "c": range(2, 10), "d": range(3, 12)},
        lambda a, b, c, d: c % d != 0,
    ),
    Family(
        "digit_count",
        "How many of the integers from {a} to {b} contain the digit {c}?",
        "sum('{c}' in str(n) for n in range({a}, {b} + 1))",
        {"a": range(1, 60), "b": range(100, 500), "c": range(1, 10)},
    ),
    Family(
        "modular_power",
        "What is the remainder when {a} to the power {b} is divided by {c}?",
        "{a} ** {b} % {c}",
        {"a": range(2, 30), "b": range(10, 80), "c": range(7, 100)},
        lambda a, b, c: a % c > 1,
    ),
    Family(
        "divisor_count",
        "How many positive divisors does {a} have?",
        "sum({a} % n == 0 for n in range(1, {a} + 1))",
        {"a": range(24, 1000)},
    ),
    Family(
        "common_multiple",
        "What is the least positive integer that is a multiple of both {a} and {b}?",
        "next(n for n in range(1, {a} * {b} + 1) if n % {a} == 0 and n % {b} == 0)",
        {"a": range(6, 60), "b": range(6, 60)},
        lambda a, b: a != b,
    ),
    Family(
        "digit_sum",
        "What is the sum of the decimal digits of {a} to the power {b}?",
        "sum(int(c) for c in str({a} ** {b}))",
        {"a": range(2, 20), "b": range(8, 60)},
        lambda a, b: a != 10,
    ),
    Family(
        "circle_points",
        "How many points with integer coordinates x and y satisfy x * x + y * y <= {a}?",
        "sum(x * x + y * y <= {a} for x in range(-{a}, {a} + 1) for y in range(-{a}, {a} + 1))",
        {"a": range(5, 120)},
    ),
    Family(
        "recurrence",
        "A sequence begins {a}, {b}, and each later term is the sum of the two terms before it. "
        "What is the remainder when its term number {c} is divided by {d}?",
        "[s := [{a}, {b}], [s.append(s[-1] + s[-2]) for _ in range({c})], s[{c} - 1] % {d}][-1]",
        {"a": range(1, 10), "b": range(1, 10), "c": range(8, 40), "d": range(11, 100)},
    ),
    Family(
        "coprime_count",
        "How many of the integers from 1 to {a} share no divisor greater than 1 with {b}?",
        "sum(all(n % k or {b} % k for k in range(2, {b} + 1)) for n in range(1, {a} + 1))",
        {"a": range(20, 200), "b": range(6, 61)},
    ),
)


def generate(per_family: int = PER_FAMILY) -> list[dict[str, str | int]]:
    """Returns ``per_family`` different problems of each family; the same ones each time."""
    records: list[dict[str, str | int]] = []
    for family in FAMILIES:
        rng = random.Random(family.name)
        drawn: dict[str, int] = {}
        while len(drawn) < per_family:
            numbers = family.draw(rng)
            drawn[family.problem(numbers)] = family.answer(numbers)
        records += [
            {"id": f"{family.name}-{n}", "family": family.name, "problem": text, "answer": answer}
            for n, (text, answer) in enumerate(drawn.items())
        ]
    return records


if __name__ == "__main__":
    rows = ",\n".join(json.dumps(record) for record in generate())
    PATH.write_text(f"[\n{rows}\n]\n", encoding="utf-8")

"""Computes every bundled answer a second time, by another method."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from envs.mathchat.problems import FAMILIES, PATH, generate

RECORDS: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))


def multiples_sum(a: int, b: int, c: int) -> int:
    def total(step: int) -> int:
        count = (a - 1) // step
        return step * count * (count + 1) // 2

    return total(b) + total(c) - total(math.lcm(b, c))


def divisible_count(a: int, b: int, c: int, d: int) -> int:
    def count(step: int) -> int:
        return b // step - (a - 1) // step

    return count(c) - count(math.lcm(c, d))


def digit_count(a: int, b: int, c: int) -> int:
    def has(n: int) -> bool:
        while n:
            n, digit = divmod(n, 10)
            if digit == c:
                return True
        return False

    return sum(map(has, range(a, b + 1)))


def modular_power(a: int, b: int, c: int) -> int:
    return pow(a, b, c)


def divisor_count(a: int) -> int:
    count, prime = 1, 2
    while a > 1:
        power = 0
        while a % prime == 0:
            a, power = a // prime, power + 1
        count, prime = count * (power + 1), prime + 1
    return count


def common_multiple(a: int, b: int) -> int:
    return a * b // math.gcd(a, b)


def digit_sum(a: int, b: int) -> int:
    n, total = a**b, 0
    while n:
        n, digit = divmod(n, 10)
        total += digit
    return total


def circle_points(a: int) -> int:
    root = math.isqrt(a)
    return sum(2 * math.isqrt(a - x * x) + 1 for x in range(-root, root + 1))


def recurrence(a: int, b: int, c: int, d: int) -> int:
    for _ in range(c - 1):
        a, b = b, (a + b) % d
    return a % d


def coprime_count(a: int, b: int) -> int:
    return sum(math.gcd(n, b) == 1 for n in range(1, a + 1))


SECOND: dict[str, Callable[..., int]] = {
    solve.__name__: solve
    for solve in (
        multiples_sum,
        divisible_count,
        digit_count,
        modular_power,
        divisor_count,
        common_multiple,
        digit_sum,
        circle_points,
        recurrence,
        coprime_count,
    )
}


def numbers(family: Any, text: str) -> dict[str, int]:
    pattern = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(family.text))
    match = re.fullmatch(pattern, text)
    assert match, text
    return {name: int(value) for name, value in match.groupdict().items()}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_bundled_answers_agree_with_a_second_method_and_with_the_program(family: Any) -> None:
    records = [record for record in RECORDS if record["family"] == family.name]
    assert len(records) == 16
    for record in records:
        drawn = numbers(family, record["problem"])
        assert SECOND[family.name](**drawn) == record["answer"], record
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(family.program(drawn), {})
        assert int(out.getvalue()) == record["answer"]


def test_the_file_is_the_output_of_the_generator() -> None:
    assert generate() == RECORDS


def test_problems_are_distinct_single_lines_with_answers_from_0_to_999() -> None:
    assert len(RECORDS) == 160
    assert len({record["problem"] for record in RECORDS}) == len({record["id"] for record in RECORDS}) == 160
    assert all("\n" not in record["problem"] for record in RECORDS)
    assert all(type(record["answer"]) is int and 0 <= record["answer"] <= 999 for record in RECORDS)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_answer_can_be_guessed(family: Any) -> None:
    answers = [record["answer"] for record in RECORDS if record["family"] == family.name]
    assert max(map(answers.count, answers)) <= 6

"""Generated answers and task files: no exception but ours, and no answer that is accepted by mistake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

import conf
from envs.mathchat import loader, splits
from envs.mathchat.answers import accepted, boxed, grade
from envs.mathchat.equivalence import Checker
from tests.sandbox.fuzz.explore import explore
from tests.sandbox.fuzz.strategies import hostile_texts, objects_like, raw_json

FIELDS: dict[str, list[str]] = conf.to_dict(conf.load("env", "mathchat").fields)
CODES = {"ok", "wrong", "no_answer", "timeout"}
_PIECES = (
    *(
        "\\frac",
        "\\dfrac",
        "{",
        "}",
        "{1}",
        "{2}",
        "\\sqrt",
        "[3]",
        "^",
        "_",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        "|",
    ),
    *(
        "\\text{",
        "\\text{ cm}",
        "\\text{or}",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "\\\\",
        "&",
        "\\left(",
        "\\right)",
    ),
    *(
        "0",
        "1",
        "12",
        "1,000",
        "3.5",
        "-",
        "+",
        "=",
        "<",
        "\\le",
        ",",
        ";",
        " ",
        "%",
        "$",
        "°",
        "^\\circ",
        "!",
        "\\pi",
    ),
    *(
        "x",
        "i",
        "e",
        "\\infty",
        "\\cup",
        "\\pm",
        "\\in",
        "or",
        "and",
        "none",
        "\\emptyset",
        "x=",
        "A",
        "(B)",
        "\\cdot",
    ),
    *(
        "\\boxed{",
        "\\fbox{",
        "<think>",
        "</think>",
        "__import__('os')",
        "lambda:0",
        "9^{9^9}",
        "\n",
        "\0",
        "é",
        "²",
        "½",
    ),
    *(
        "\\log_",
        "\\binom{4}{2}",
        "\\lfloor",
        "\\rfloor",
        "\\sum_{k=1}^{3}k",
        "\\overline{3}",
        "0.",
        "_2",
        "\\equiv",
    ),
)
pieces: SearchStrategy[str] = st.lists(st.sampled_from(_PIECES), max_size=9).map("".join)
small = st.integers(-12, 12)


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    made = Checker(2)
    yield made
    made.close()


def test_any_text_gets_a_grade(checker: Checker) -> None:
    def check(text: str, gold: str) -> None:
        try:
            answers = accepted(gold)
        except ValueError:
            return
        assert grade(text, answers, checker) in CODES
        assert grade(f"so \\boxed{{{text}}}", answers, checker) in CODES
        content = boxed(text)
        assert content is None or content in text

    explore(check, pieces | hostile_texts, pieces)


@st.composite
def integers_as_written(draw: DrawFn) -> tuple[int, str]:
    """An integer, and one of the ways in which models write it."""
    value = draw(st.integers(-(10**7), 10**7) | small)
    sign, size = "-" if value < 0 else "", abs(value)
    ways = [
        f"{value}", f"{sign}{size:,}", f"{sign}{size:,}".replace(",", "{,}"), f"{value}.0", f"{sign}00{size}",
        f"\\text{{{value}}}", f"x = {value}", f"${value}$", f"\\frac{{{3 * value}}}{{3}}", f"{value}.",
        f"{value}\\text{{ cm}}", f"\\left({value}\\right)", f"{value + 5} - 5", f"m+n={value}",
        f"\\dfrac{{{value}}}{{1}}",
    ]  # fmt: skip
    return value, draw(st.sampled_from(ways))


def test_an_integer_is_accepted_if_and_only_if_it_is_the_answer(checker: Checker) -> None:
    def check(written: tuple[int, str], off: int) -> None:
        value, text = written
        action = f"Therefore \\boxed{{{text}}}"
        assert grade(action, accepted(value), checker) == "ok"
        assert grade(action, accepted(value + off), checker) == "wrong"

    explore(check, integers_as_written(), st.integers(1, 10**6) | st.sampled_from((1, 9, 10, 99, 1000)))


@st.composite
def expressions(draw: DrawFn, depth: int = 2) -> tuple[str, Fraction]:
    """LaTeX and its exact value."""
    kind = (
        draw(st.sampled_from(("number", "sum", "difference", "product", "quotient", "power")))
        if depth
        else "number"
    )
    if kind == "number":
        value = draw(st.integers(0, 12))
        return str(value), Fraction(value)
    one, first = draw(expressions(depth - 1))
    if kind == "power":
        exponent = draw(st.integers(0, 3))
        return f"({one})^{{{exponent}}}", first**exponent
    other, second = draw(expressions(depth - 1))
    if kind == "quotient":
        if second == 0:
            return one, first
        return f"\\frac{{{one}}}{{{other}}}", first / second
    if kind == "product":
        return f"({one}) \\cdot ({other})", first * second
    sign = "+" if kind == "sum" else "-"
    return f"({one}) {sign} ({other})", first + second if kind == "sum" else first - second


def test_an_expression_is_accepted_if_and_only_if_its_value_is_the_answer(checker: Checker) -> None:
    def check(expression: tuple[str, Fraction], off: Fraction, swap: bool) -> None:
        text, value = expression
        for number, code in ((value, "ok"), (value + off, "wrong")):
            given, gold = (str(number), text) if swap else (text, str(number))
            assert grade(f"\\boxed{{{given}}}", accepted(gold), checker) == code

    explore(check, expressions(), st.fractions(Fraction(1, 100), 100, max_denominator=100), st.booleans())


@st.composite
def collections(draw: DrawFn) -> tuple[str, list[int], bool]:
    """A list, set or tuple as LaTeX, its elements, and whether their order counts."""
    elements = draw(st.lists(small, min_size=2, max_size=4, unique=True))
    text = ", ".join(map(str, elements))
    left, right, ordered = draw(st.sampled_from((("", "", False), ("\\{", "\\}", False), ("(", ")", True))))
    return left + text + right, elements, ordered


def test_another_collection_is_never_accepted(checker: Checker) -> None:
    def check(gold: tuple[str, list[int], bool], change: str, place: int, off: int) -> None:
        text, elements, ordered = gold
        other = list(elements)
        if change == "replace":
            other[place % len(other)] += off
        elif change == "remove":
            del other[place % len(other)]
        elif change == "add":
            other.insert(place, 99)
        else:
            other.reverse()
        written = text.replace(", ".join(map(str, elements)), ", ".join(map(str, other)))
        code = "ok" if change == "reverse" and not ordered else "wrong"
        assert grade(f"\\boxed{{{written}}}", accepted(text), checker) == code

    changes = st.sampled_from(("replace", "remove", "add", "reverse"))
    explore(check, collections(), changes, st.integers(0, 3), st.integers(30, 80))


RARE = (
    *("7919", "-7919", "\\frac{7919}{2}", "(7919, 2)", "\\{1, 7919\\}", "\\sqrt{7919}", "7919x"),
    *("[0, 7919]", "x < 7919", "7919\\%", "7919\\text{ cm}", "7919_{10}", "2^{7919}", "1 or 7919 or 3"),
)
"""Answers with a number that nobody writes by accident."""


def test_a_text_that_does_not_name_the_number_is_never_accepted(checker: Checker) -> None:
    def check(text: str, gold: str) -> None:
        for action in (text, f"\\boxed{{{text}}}"):
            assert grade(action, accepted(gold), checker) != "ok"

    explore(check, pieces | hostile_texts, st.sampled_from(RARE))


good: dict[str, Any] = {
    "prompt": "What is 1 + 1?", "answer": "2", "id": "2021-I-3", "year": 2021, "part": "I",
    "problem_number": 3, "family": "sums", "url": "https://x.org/2021_AIME_I_Problems/Problem_3",
}  # fmt: skip
records = st.lists(objects_like(good), max_size=4)
files: SearchStrategy[bytes] = (
    records.map(lambda made: f"[{', '.join(made)}]".encode("utf-8", "surrogatepass"))
    | records.map(lambda made: "\n".join(made).encode("utf-8", "surrogatepass"))
    | raw_json.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=40)
)


def load(path: Path) -> list[loader.Problem]:
    """Returns the problems of a file; none if it is refused in one line."""
    try:
        return loader.load([str(path)], FIELDS)
    except conf.ConfigError as error:
        require_one_line(error)
        return []


def require_one_line(error: conf.ConfigError) -> None:
    assert len(str(error).splitlines()) == 1
    assert str(error).isprintable()


def test_any_file_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        for problem in load(path):
            task = problem.task
            assert task.prompt.startswith("## Problem")
            assert task.answer
            assert all(isinstance(one, str) and 0 < len(one) <= 256 for one in task.answer)
            json.dumps([task.id, task.prompt, task.kind, task.answer], ensure_ascii=False).encode()

    explore(check, files)


@st.composite
def contests(draw: DrawFn) -> list[dict[str, Any]]:
    """Records of which many are the same problem, written in other ways."""
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        n = draw(st.integers(0, 5))
        text = draw(st.sampled_from((f"What is {n} + {n}?", f"what is $ {n}+{n} $", f"Add {n} twice.")))
        row: dict[str, Any] = {"prompt": text, "answer": draw(st.sampled_from((2 * n, 2 * n, str(2 * n), 7)))}
        place = draw(st.sampled_from(("none", "fields", "id", "url")))
        year = 2015 + n
        if place == "fields":
            row |= {"year": year, "part": "I", "number": n}
        elif place != "none":
            row |= (
                {"id": f"{year}-I-{n}"} if place == "id" else {"url": f"/{year}_AIME_I_Problems/Problem_{n}"}
            )
        if draw(st.integers(0, 4)) == 0:
            row["kind"] = draw(hostile_texts)
        rows.append(row)
    return rows


spans = st.none() | st.tuples(st.integers(2013, 2022), st.integers(0, 4)).map(
    lambda span: (span[0], sum(span))
)


def test_training_and_evaluation_are_apart_or_refused_in_one_line(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "aime_2025.json"]

    def check(
        rows: tuple[list[Any], list[Any]],
        train: Any,
        heldout: Any,
        second: bool,
        sample: int | None,
        drop: bool,
        kinds: list[str] | None,
    ) -> None:
        for path, written in zip(paths, rows, strict=True):
            path.write_text(json.dumps(written))
        choice = splits.Choice(
            tasks=[str(paths[0])],
            heldout_tasks=[str(paths[1])] if second else None,
            heldout=0.25,
            split_seed=0,
            years={"train": train, "heldout": heldout},
            kinds=kinds,
            sample=sample,
            sample_seed=42,
            drop_overlap=drop,
        )
        try:
            made = splits.choose(choice, FIELDS)
        except conf.ConfigError as error:
            require_one_line(error)
            return
        tasks = [*made["train"], *made["heldout"]]
        assert made["train"]
        assert made["heldout"]
        assert len({task.id for task in tasks}) == len(tasks)
        numbers = [place(task.prompt) for task in tasks]
        assert len(set(numbers)) == len(numbers)

    kinds = st.none() | st.just(["math"])
    settings = (spans, spans, st.booleans(), st.none() | st.just(2), st.booleans(), kinds)
    explore(check, st.tuples(contests(), contests()), *settings)


def place(prompt: str) -> str:
    """The number that a problem is about, and whether it is the text that no other record repeats."""
    words = prompt.replace("$", "").replace("+", " + ").split()
    return " ".join(words[-3:]).strip("?").casefold() if "+" in words else prompt

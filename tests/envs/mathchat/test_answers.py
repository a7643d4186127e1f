from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from envs.mathchat.answers import accepted, boxed, grade
from envs.mathchat.equivalence import Checker
from envs.mathchat.structure import is_plain


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker(timeout=1.0)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{12}", "12"),
        (r"\boxed{13} wait \boxed{12}", "12"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{12} and \boxed{13", None),
        (r"\boxed{13 and \boxed{12}", "12"),
        (r"\boxed{\left\{1\right.}", r"\left\{1\right."),
        (r"\\boxed{12}", "12"),
        (r"\boxed{a\boxed{3}}", "3"),
        (r"\boxed {7}", "7"),
        (r"\boxed{}", ""),
        (r"\boxed{12", None),
        ("the answer is 12", None),
    ],
)
def test_the_last_box_counts_if_it_has_an_end(text: str, content: str | None) -> None:
    assert boxed(text) == content


@pytest.mark.parametrize(
    ("given", "common"),
    [
        ("033", "33"),
        ("142.0", "142"),
        ("-7", "-7"),
        ("−7", "-7"),
        ("8,178", "8178"),
        ("1{,}000", "1000"),
        (r"1,\!024", "1024"),
        (r"336^\circ", "336"),
        (r"336^{\circ}", "336"),
        (r"45\text{ cm}", "45"),
        (r"\text{45 cm}", "45"),
        ("45 square units", "45"),
        (r"20\text{ cm}^2", "20"),
        ("$12$", "12"),
        ("x = 7.", "7"),
        ("m+n=12", "12"),
        (r"\text{The answer is }12", "12"),
    ],
)
def test_markup_and_units_do_not_matter(given: str, common: str, checker: Checker) -> None:
    assert grade(f"\\boxed{{{given}}}", (common,), checker) == "ok"


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("60", ("60",)),
        ("023", ("23",)),
        (142.0, ("142",)),
        (-34.0, ("-34",)),
        (0.5, ("0.5",)),
        (7, ("7",)),
        (r"336^\circ", ("336°",)),
        ("080 or 081 (both were accepted)", ("80", "81")),
        (["1", 2.0], ("1", "2")),
        (r"\boxed{9}", ("9",)),
    ],
)
def test_the_answer_of_a_file_becomes_the_list_of_accepted_ones(answer: Any, right: tuple[str, ...]) -> None:
    assert accepted(answer) == right


@pytest.mark.parametrize("answer", [None, True, "", " ", [], {}, float("nan"), float("inf"), [None]])
def test_an_invalid_answer_is_an_error(answer: Any) -> None:
    with pytest.raises(ValueError, match="not a valid answer"):
        accepted(answer)


@pytest.mark.parametrize(
    ("given", "right", "code"),
    [
        ("12", "12", "ok"),
        ("13", "12", "wrong"),
        ("81", "080 or 081 (both were accepted)", "ok"),
        ("81", "080 or 081", "wrong"),
        ("80 or 81", "080 or 081", "ok"),
        (r"\frac{84}{2}", "42", "ok"),
        ("84/2", "42", "ok"),
        ("10^3", "1000", "ok"),
        ("2/4", "1/2", "ok"),
        (r"\sqrt{50}", r"5\sqrt{2}", "ok"),
        (r"\sqrt{51}", r"5\sqrt{2}", "wrong"),
        (r"45\%", "4.5", "wrong"),
        ("", "12", "no_answer"),
        ("$ $", "12", "no_answer"),
        (r"\text{twelve}", "12", "wrong"),
        ("1" * 300, "1" * 300, "wrong"),
    ],
)
def test_boxed_answers_are_graded(given: str, right: str, code: str, checker: Checker) -> None:
    assert grade(f"First \\boxed{{1}}, then \\boxed{{{given}}}.", accepted(right), checker) == code


def test_a_number_in_prose_is_not_an_answer(checker: Checker) -> None:
    assert grade("The answer is 12.", ("12",), checker) == "no_answer"


@pytest.mark.parametrize("tower", ["9^{9^{9^9}}", "100000000!"])
def test_an_answer_that_never_ends_is_a_timeout_and_the_next_is_graded(tower: str, checker: Checker) -> None:
    assert grade(f"\\boxed{{{tower}}}", ("3",), checker) == "timeout"
    assert grade(r"\boxed{6/2}", ("3",), checker) == "ok"


@pytest.mark.parametrize(
    "attack",
    ["__import__('os').system('true')", "open(1)", "lambda: 1", "x.__class__", '"a"', "exit()", "abcd(1)"],
)
def test_nothing_that_could_be_python_is_parsed(attack: str, checker: Checker) -> None:
    assert not is_plain(attack)
    assert checker.equal("3", attack) == "different"


def test_answers_are_compared_off_the_main_thread_and_by_many_at_once(checker: Checker) -> None:
    verdicts: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: verdicts.append(checker.equal("1/2", f"{n}/{2 * n}")))
        for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == ["equal"] * 8


def test_integers_start_no_process() -> None:
    checker = Checker(timeout=1.0)
    assert grade(r"\boxed{012}", ("12",), checker) == "ok"
    assert grade(r"\boxed{13}", ("12",), checker) == "wrong"
    assert checker._child is None


def test_a_checker_leaves_no_process_and_no_open_file() -> None:
    gc.collect()  # what earlier tests left is no concern of this one
    checker = Checker(timeout=0.2)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        assert checker.equal("3", "100000000!") == "timeout"
    assert checker.equal("1/2", "2/4") == "equal"
    child = checker._child
    assert child is not None
    del checker
    gc.collect()
    assert child.poll() is not None
    del child
    assert len(list(Path("/proc/self/fd").iterdir())) == before

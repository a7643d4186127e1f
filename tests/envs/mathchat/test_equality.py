from __future__ import annotations

import pytest

from envs.mathchat.answers import accepted, grade
from envs.mathchat.equivalence import Checker


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker(timeout=2.0)


RIGHT = [
    # units, currencies, percent and counted things that the correct answer leaves out
    ("18", r"\$18"),
    ("18", r"18\$"),
    ("18", r"\$18.00"),
    ("-18", r"-\$18"),
    ("1000", r"\$1{,}000"),
    ("18", "€18"),
    ("18", r"18 \text{ dollars}"),
    ("18", "USD 18"),
    ("45", r"45\text{ km/h}"),
    ("45", r"45 \mathrm{\,km/h}"),
    ("45", r"45\ \text{km}/\text{h}"),
    ("45", r"45 \text{ miles per hour}"),
    ("12", r"12\text{ apples}"),
    ("12", "12 apples"),
    ("12", "12 red apples"),
    ("45", r"45\%"),
    ("0.45", r"45\%"),
    ("45", r"45 \text{ percent}"),
    (r"45\%", "45"),
    (r"45\%", "0.45"),
    ("45", r"45^\circ"),
    ("45", "45°"),
    (r"45^\circ", "45"),
    (r"45^\circ", r"45\text{ degrees}"),
    ("7", r"7\text{ m}"),
    ("7", r"7 m"),
    (r"7\text{ m}", "7"),
    (r"7\text{ m}", r"7\text{ meters}"),
    (r"20\text{ cm}^2", r"20 \text{ square centimeters}"),
    ("20", r"20\text{ cm}^2"),
    ("20", r"20 cm^2"),
    (r"\frac{3}{4}", r"\frac{3}{4}\text{ hours}"),
    ("2000000", r"2\text{ million}"),
    (r"2.5\text{ million}", "2{,}500{,}000"),
    # several values
    (r"1 \text{ or } 2", r"1 \text{ or } 2"),
    (r"1 \text{ or } 2", r"2 \text{ or } 1"),
    ("1 or 2", "1, 2"),
    ("1 or 2", r"\{1, 2\}"),
    ("1 or 2", r"x = 1 \text{ or } x = 2"),
    ("1, 2", r"1 \text{ and } 2"),
    ("80 or 81 (both were accepted)", "80"),
    ("80 or 81 (both were accepted)", "81"),
    ("80 or 81 (either is accepted)", "81"),
    (r"\{1,2,3\}", r"\{3,1,2\}"),
    ("1,2,3", "3, 2, 1"),
    (r"\{1,2\}", r"x \in \{1,2\}"),
    (r"\{5\}", "5"),
    (r"\pm 3", "3, -3"),
    (r"\pm 3", r"x = \pm 3"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt2, 1-\sqrt2"),
    ("(1, 2)", r"\left(1,2\right)"),
    ("(1, 2)", r"(1, \frac{4}{2})"),
    ("(1, 2)", "x=1, y=2"),
    ("(1,2,3)", r"\langle 1,2,3 \rangle"),
    # intervals, sets and relations
    ("[0, 1)", r"\left[0, 1\right)"),
    ("[0, 1)", r"0 \le x < 1"),
    ("[0, 1)", r"x \in [0, 1)"),
    (r"(3, \infty)", "x > 3"),
    ("x > 3", "3 < x"),
    (r"(-\infty, 0) \cup [1, \infty)", r"[1,\infty) \cup (-\infty,0)"),
    (r"\{x \mid x > 3\}", r"(3,\infty)"),
    ("y = 2x + 3", "2x + 3"),
    ("y = 2x + 3", "2x - y + 3 = 0"),
    ("2x - y < 3", "2x < y + 3"),
    (r"x \ne 2", r"2 \neq x"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix}1&2\\3&\frac{8}{2}\end{bmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)"),
    # names
    ("5", "x=5"),
    ("x=5", "5"),
    ("5", "m + n = 5"),
    ("5", r"\text{Area} = 5\text{ cm}^2"),
    ("5", r"\text{The answer is } 5"),
    ("5", "f(2) = 5"),
    ("60", r"\angle ABC = 60^\circ"),
    # forms of one number
    ("1/2", "0.5"),
    ("0.5", r"\dfrac12"),
    ("0.5", ".5"),
    ("0.5", "0.50"),
    ("5/2", r"2\frac{1}{2}"),
    ("5/2", "2 1/2"),
    (r"-\frac{5}{2}", r"-2\frac12"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    ("1000", "1,000"),
    ("1000", r"1\,000"),
    ("1000", r"1{,}000"),
    ("1000", "10^3"),
    ("1000", "10^{3}"),
    ("1500", r"1.5 \times 10^3"),
    ("1500", "1.5e3"),
    ("0.0015", r"1.5\cdot 10^{-3}"),
    ("1/3", r"0.\overline{3}"),
    ("1/6", r"0.1\overline{6}"),
    (r"5\sqrt{2}", r"\sqrt{50}"),
    (r"1+\sqrt{2}", r"\sqrt{3+2\sqrt{2}}"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    (r"\sqrt{6}+\sqrt{2}", r"2\sqrt{2+\sqrt{3}}"),
    (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"),
    ("-2", r"\sqrt[3]{-8}"),
    (r"\sqrt[3]{2+\sqrt{5}} + \sqrt[3]{2-\sqrt{5}}", "1"),
    (r"2\ln 2", r"\ln 4"),
    (r"\frac{\pi}{2}", r"\pi/2"),
    (r"\frac{\pi}{2}", "pi/2"),
    (r"2\sqrt{3}", "2*sqrt(3)"),
    (r"\frac{1}{2^{99}}", "2^{-99}"),
    (r"\binom{5}{2}", "10"),
    ("120", "5!"),
    ("3+4i", "4i + 3"),
    ("2i", "(1+i)^2"),
    (r"\infty", r"+\infty"),
    ("6", "(2)(3)"),
    ("6", "2(3)"),
    ("3", r"\log_2(8)"),
    (r"\sin^2(x)", r"\sin(x)^2"),
    ("3.33", r"\frac{10}{3} \approx 3.33"),
    (r"\frac{10}{3}", r"\frac{10}{3} \approx 3.33"),
    ("101_2", "101_{2}"),
    ("101_2", "101"),
    ("5", "101_2"),
    # expressions
    ("7m", "7m"),
    ("7m", "7 m"),
    ("7m", "m7"),
    ("x^2+C", "C + x^2"),
    ("x^2 + 2x + 1", "(x+1)^2"),
    (r"\frac{a}{b}", "a/b"),
    (r"\sin 2x", r"2 \sin x \cos x"),
    # choices and words
    ("E", "E: the last"),
    ("E", "(E)"),
    ("E", r"\textbf{(E)}\ 12"),
    ("E", r"\text{E. }12"),
    ("(E) 12", "E"),
    ("(E) 12", "12"),
    ("Yes", r"\text{yes}"),
    (r"\text{No solution}", r"\emptyset"),
    (r"\text{None}", r"\text{no solutions}"),
    (r"\text{odd}", "odd"),
]

WRONG = [
    (r"1 \text{ or } 2", "2"),
    (r"1 \text{ or } 2", "1"),
    ("1 or 2", "1 or 2 or 3"),
    ("18", r"18 \text{ or } 19"),
    ("80 or 81 (both were accepted)", "82"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    (r"\frac{1}{2^{99}}", "0"),
    ("0.1", "0.10000000000000000000000000000000001"),
    ("1/3", "0.333"),
    ("1/3", ".333333333333333"),
    (r"\pi", "3.14"),
    (r"\pi", r"\frac{22}{7}"),
    (r"\sqrt{2}", "1.41421356237309504880"),
    ("10^{30}", "10^{30}+1"),
    (r"\sqrt{51}", r"5\sqrt{2}"),
    (r"\pi", r"\pi + 10^{-200}"),
    (r"\sqrt{2}", r"\sqrt{2} + 10^{-200}"),
    ("7m", "7"),
    ("7", "7x"),
    ("7m", "7n"),
    ("7", "m"),
    (r"7\text{ m}", r"7\text{ cm}"),
    (r"7\text{ m}", r"7\text{ m}^2"),
    (r"\$18", r"18\text{ cents}"),
    ("0.45", r"0.45\%"),
    ("45", r"4.5\%"),
    ("12", r"12\text{ million}"),
    ("12", r"12\text{ or more}"),
    ("E", "D: the last"),
    ("E", "A, E"),
    ("E", "(A) and (E)"),
    ("E", "(E) and (A)"),
    ("E", "e"),
    ("A", "A train"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "[1, 2]"),
    ("(1, 2)", r"\{1, 2\}"),
    ("[0, 1)", "[0, 1]"),
    ("[0, 1)", r"0 < x < 1"),
    (r"(3, \infty)", r"x \ge 3"),
    (r"\{1,2,3\}", r"\{1,2\}"),
    (r"\pm 3", "3"),
    ("3", r"\pm 3"),
    (r"\infty", r"-\infty"),
    ("x=5", "y=5"),
    ("x + y = 5", "5"),
    ("y = 2x + 3", "y = 2x + 4"),
    ("2x - y < 3", "2x - y > 3"),
    ("5/2", r"2 \cdot \frac{1}{2}"),
    ("1000", "1,00"),
    ("1000", "(1,000)"),
    ("12", "1,2"),
    ("x^2+C", "x^2"),
    ("2x", "2X"),
    ("101_2", "5"),
    ("101", "101_2"),
    ("101_2", "101_3"),
    ("5", r"\text{no solution}"),
    (r"\text{no solution}", "0"),
    ("Yes", "No"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}"),
    ("5", r"\text{five}"),
    ("12", "1 2"),
    ("3 red, 2 blue", "2 red, 3 blue"),
    ("1", r"\frac{0}{0}"),
    (r"\frac{1}{0}", r"\frac{2}{0}"),
]


@pytest.mark.parametrize(("gold", "given"), RIGHT)
def test_equal_answers_are_right(gold: str, given: str, checker: Checker) -> None:
    assert grade(f"\\boxed{{{given}}}", accepted(gold), checker) == "ok"


@pytest.mark.parametrize(("gold", "given"), WRONG)
def test_different_answers_are_wrong(gold: str, given: str, checker: Checker) -> None:
    assert grade(f"\\boxed{{{given}}}", accepted(gold), checker) == "wrong"


@pytest.mark.parametrize("gold", sorted({gold for gold, _ in RIGHT + WRONG if "accepted" not in gold}))
def test_every_answer_is_equal_to_itself(gold: str, checker: Checker) -> None:
    if gold != r"\frac{1}{0}":
        assert checker.equal(gold, gold) == "equal"


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{12} … \boxed{13",
        r"\boxed{12}, no: \boxed{\frac{1}{2}",
        r"\boxed{12",
        r"\boxed{",
        r"\boxed{12\}",
    ],
)
def test_a_last_box_without_an_end_is_no_answer(text: str, checker: Checker) -> None:
    assert grade(text, ("12",), checker) == "no_answer"


FATAL = [
    "10^{10^{10}}",
    "2^{-10^{10^{10}}}",
    "7!!!!!!!!",
    r"\binom{10^{9}}{5^{9}}",
    r"e^{e^{e^{e^{e^{9}}}}} - 1",
]


@pytest.mark.parametrize(
    "hostile",
    [
        *(pytest.param(one, marks=pytest.mark.slow) for one in FATAL),
        "10^10^10",
        "\\sqrt{" * 35 + "2" + "}" * 35,
        "".join(f"+\\sqrt{{{n}}}" for n in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)),
        r"\sum_{k=1}^{10^{12}} \frac{1}{k}",
        "(" * 120 + "3" + ")" * 120,
        "{" * 120,
        "1," * 100 + "1",
    ],
)
def test_a_hostile_answer_is_refused_within_the_limits(hostile: str, checker: Checker) -> None:
    assert grade(f"\\boxed{{{hostile}}}", (r"\sqrt{2}",), checker) in ("timeout", "wrong", "no_answer")
    assert grade(r"\boxed{\frac{2}{\sqrt 2}}", (r"\sqrt{2}",), checker) == "ok"

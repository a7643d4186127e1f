"""Programs that are run again with fractions or other random numbers, on sound ones and on faulty ones."""

from __future__ import annotations

import contextlib
import io
import itertools
import math

import pytest

from coaches.audits import programs, recomputed
from coaches.audits.guest import exact
from tests.coaches.audits.test_programs import chain, texts


class LostError(BaseException):
    """Stands for the end of the process."""


def lost() -> None:
    raise LostError


def run(program: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "program", "exec"), {})
    return out.getvalue().strip()


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "lost", lost)
    monkeypatch.setattr(exact, "_operations", itertools.count(1))


def again(code: str) -> str | None:
    """Returns what a program prints with fractions; None if that is not tried, or does not tell."""
    program = recomputed.exactly(code)
    try:
        return None if program is None else run(program)
    except LostError:
        return None


@pytest.mark.parametrize(
    ("code", "printed", "value"),
    [
        ("print(int(float(18) ** 66) % 78)", "74", "12"),
        ("print(int(0.29 * 100))", "28", "29"),
        ("print('%d' % (0.29 * 100))", "28", "29"),
        ("n = 10 ** 17 + 2\nn /= 2\nprint(int(n))", "50000000000000000", "50000000000000001"),
        ("x, n = 0.0, 0\nwhile x < 1:\n    x += 0.1\n    n += 1\nprint(n)", "11", "10"),
        ("print(int(64 ** (1 / 3)))", "3", "4"),
        ("print(sum(n ** (1 / 3) % 1 == 0 for n in range(1, 126)))", "3", "5"),
        ("print(sum(a * 0.1 + b * 0.1 == 0.3 for a in range(4) for b in range(4)))", "0", "4"),
        ("from math import floor\nprint(floor(round(2.675, 2) * 100))", "267", "268"),
        ("best = float('inf')\nbest = min(best, 0.29)\nprint(int(best * 100))", "28", "29"),
        ("a = 7 ** 25 // 3\nprint(f'The result is {int(a / 1)}')", "The result is 447022873221321654272",
         "The result is 447022873221321633602"),
    ],
)  # fmt: skip
def test_a_result_that_rounding_changed_differs_in_fractions(code: str, printed: str, value: str) -> None:
    assert (run(code), again(code)) == (printed, value)


@pytest.mark.parametrize(
    "code",
    [
        "print(sum(n for n in range(1, 46) if n % 4 == 0))",
        "print(sum(range(1, 101)) / 2)",
        "print(round(12 * 0.25 * 100))",
        "total = 0\nfor price in [0.5, 1.25, 2]:\n    total += price\nprint(int(total * 4))",
        "import math\nprint(math.floor(math.sqrt(50)))",
        "import math\nprint(sum(math.sqrt(n) == int(math.sqrt(n)) for n in range(1, 1001)))",
        "import math\nprint(round(math.pi * 10 ** 2 / 4))",
        "print(sum(int(d) for d in str(1 / 7)[2:12]))",
        "print(len(str(2.0 ** 100)))",
        "print(len({a / b for a in range(1, 9) for b in range(1, 9)}))",
        "x = 1.0\nfor _ in range(60):\n    x = (x + 2 / x) / 2\nprint(int(x * 1000))",
        "print(sum(abs(n ** 0.5 - round(n ** 0.5)) < 1e-9 for n in range(1, 101)))",
        "n, eps = 0, 1.0\nwhile 1.0 + eps != 1.0:\n    eps /= 2\n    n += 1\nprint(n)",
        "print(int(sum(1 / n for n in range(1, 20_000))))",
        "import random\nprint(int(random.random() * 0 + 0.29 * 100))",
        "import numpy\nprint(int(numpy.float64(0.29) * 100))",
        "try:\n    print(int(0.29 * 100))\nexcept ValueError:\n    print(1)",
        "x = 0.29 * 100\nprint(int(x) if isinstance(x, float) else 29)",
        "half = [1, 2]\nhalf[0] /= 2\nprint(int(half[0]))",
        "match 0.5 * 2:\n    case 1.0:\n        print(1)",
        "print('%.0f' % (0.29 * 100))",
        "x = = 3",
    ],
)
def test_sound_programs_and_those_that_fractions_cannot_follow_are_not_accused(code: str) -> None:
    value = again(code)
    assert value is None or recomputed.whole(value) == recomputed.whole(run(code))


def test_what_is_printed_is_written_as_a_float_is() -> None:
    code = "x = 1 / 3\nprint(x, [2 / 1], f'{x:.3f}', str(10.0 ** 16), x.is_integer(), -x, round(x, 2))"
    assert again(code) == run(code) == "0.3333333333333333 [2.0] 0.333 1e+16 False -0.3333333333333333 0.33"


@pytest.mark.parametrize(
    "code", ["math.sin(x)", "x + math.pi", "math.pi < x", "x == 0.1", "complex(x)", "hash(x)", "0.5 ** x"]
)
def test_a_number_that_no_fraction_is_ends_the_program(code: str) -> None:
    with pytest.raises(LostError):
        eval(code, {"math": math, "x": exact.number("0.3"), "complex": complex})


def test_infinity_roots_and_powers() -> None:
    assert exact.number("0.3") < math.inf
    assert exact.power(2, exact.number("0.3")) == pow(2, exact.number("0.3")) == 2**0.3
    assert exact.power(2, -2) == 2 ** exact.number("-2.0") == exact.number("0.25")


def test_a_program_ends_before_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "MOST_OPERATIONS", 100)
    assert again("x = 0.5\nfor _ in range(90):\n    x += 1\nprint(x)") == "90.5"
    assert again("x = 0.5\nfor _ in range(190):\n    x += 1\nprint(x)") is None


def doubts(code: str, turns_print: str) -> list[str]:
    found = programs.of_chain(chain(code, turns_print, "What is 18 to the power 66, modulo 78?"), again_of)
    assert {one.strength for one in found} <= {"doubt"}
    return [one.text for one in found]


def again_of(program: str) -> str | None:
    try:
        return run(program).splitlines()[-1]
    except LostError:
        return None


def test_a_whole_number_that_is_another_one_in_fractions_is_in_doubt() -> None:
    text = "printed 74, and computed with fractions it is 12"
    assert doubts("print(int(float(18) ** 66) % 78)", "74\n") == [text]
    assert doubts("print(18 ** 66 % 78)", "12\n") == []
    assert doubts("print(18 ** 66 / 78 % 78)", "45.3\n") == [], "no whole number"


def test_a_printed_line_that_ends_in_no_number_or_in_too_long_a_one_is_not_compared() -> None:
    assert recomputed.whole("done") is recomputed.whole("") is recomputed.whole("x = 2.5") is None
    assert recomputed.whole("9" * 5000) is None
    assert recomputed.whole("x = 3, y = -4") == -4


@pytest.mark.parametrize(
    "code",
    [
        "import random\nrandom.seed(1)\nprint(random.randrange(10 ** 6))",
        "import random\nprint(random.Random(1).randrange(10 ** 6))",
        "import numpy as np\nprint(np.random.default_rng(seed=3).integers(10 ** 6))",
        "import numpy as np\nnp.random.seed(0)\nprint(np.random.randint(10 ** 6))",
    ],
)
def test_a_program_that_sets_a_seed_of_its_own_draws_others_too(code: str) -> None:
    program = recomputed.reseeded(code)
    assert program is not None
    drawn = run(code)
    assert drawn != run(program) == run(recomputed.reseeded(code) or "")
    assert texts(chain(code, f"{drawn}\n"), run(program))[-1].endswith("with other random numbers")


def test_a_sound_program_that_draws_random_numbers_gives_the_same() -> None:
    code = "import random\nrandom.seed(1)\nprint(max(random.sample(range(91), 91)))"
    program = recomputed.reseeded(code)
    assert program is not None
    assert texts(chain(code, "90\n"), run(program)) == []
    assert recomputed.reseeded("print(7)") is None

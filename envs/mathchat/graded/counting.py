"""Families that count: paths, digits, coins and arrangements."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from math import comb, factorial, gcd, prod

from envs.mathchat.graded.family import Family, Level, Numbers, between, until

_PATHS = (
    "A robot starts at the point (0, 0) of a grid. Each step takes it one unit to the right or one unit up. "
    "How many different ways lead to the point ({a}, {b})"
)
_COINS = "In how many ways can an amount of {n} be paid with coins of values "
_UNORDERED = "? The order of the coins does not matter."
_WORDS = "How many different words, with or without meaning, have exactly the letters of {w}"


def _paths(a: int, b: int) -> int:
    return comb(a + b, a)


def _paths_around(a: int, b: int, c: int, d: int) -> int:
    return _paths(a, b) - _paths(c, d) * _paths(a - c, b - d)


def _paths_around_two(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """(c, d) lies on the lower left of (e, f)."""
    through_both = _paths(c, d) * _paths(e - c, f - d) * _paths(a - e, b - f)
    return _paths_around(a, b, c, d) - _paths(e, f) * _paths(a - e, b - f) + through_both


def _two_points(rng: random.Random) -> Numbers:
    e, f = rng.randint(3, 5), rng.randint(3, 5)
    c, d = rng.randint(1, e - 1), rng.randint(1, f - 1)
    return {"a": e + rng.randint(1, 3), "b": f + rng.randint(1, 3), "c": c, "d": d, "e": e, "f": f}


def _digit_sums(lengths: Sequence[range]) -> Counter[int]:
    """Returns how many strings have each sum, if position n holds a digit of ``lengths[n]``."""
    sums = Counter({0: 1})
    for digits in lengths:
        longer: Counter[int] = Counter()
        for total, ways in sums.items():
            for digit in digits:
                longer[total + digit] += ways
        sums = longer
    return sums


def _with_sum(n: int, s: int) -> int:
    return _digit_sums([range(1, 10)] + [range(10)] * (n - 1))[s]


def _never_decreasing(n: int, s: int) -> int:
    """The digits are a choice of ``n`` from 1 to 9 with repetition: each digit is added in turn."""
    ways = Counter({(0, 0): 1})
    for digit in range(1, 10):
        for used in range(n):
            for total in range(s - digit + 1):
                ways[used + 1, total + digit] += ways[used, total]
    return ways[n, s]


def _no_equal_neighbours(n: int, c: int) -> int:
    """Returns how many of the 9 ** n numbers are divisible by ``c``, by what is left after each digit."""
    state = Counter({(digit, digit % c): 1 for digit in range(1, 10)})
    for _ in range(n - 1):
        longer: Counter[tuple[int, int]] = Counter()
        for (last, rest), ways in state.items():
            for digit in range(10):
                if digit != last:
                    longer[digit, (10 * rest + digit) % c] += ways
        state = longer
    return sum(ways for (_, rest), ways in state.items() if rest == 0)


def _payments(n: int, *coins: int) -> int:
    ways = [1] + [0] * n
    for coin in coins:
        for amount in range(coin, n + 1):
            ways[amount] += ways[amount - coin]
    return ways[n]


def _two_coins(n: int, a: int, b: int) -> int:
    return _payments(n, a, b)


def _three_coins(n: int, a: int, b: int, c: int) -> int:
    return _payments(n, a, b, c)


def _each_coin(n: int, a: int, b: int, c: int, d: int) -> int:
    rest = n - a - b - c - d
    return _payments(rest, a, b, c, d) if rest >= 0 else 0


def _limited(n: int, a: int, b: int, c: int, m: int) -> int:
    """At most ``m`` coins in all: one count for each number of coins."""
    ways = Counter({(0, 0): 1})
    for coin in (a, b, c):
        longer: Counter[tuple[int, int]] = Counter()
        for (amount, used), count in ways.items():
            for more in range(min(m - used, (n - amount) // coin) + 1):
                longer[amount + more * coin, used + more] += count
        ways = longer
    return sum(count for (amount, _), count in ways.items() if amount == n)


def _committees(a: int, b: int) -> int:
    return comb(a, b)


def _words(w: str) -> int:
    return factorial(len(w)) // prod(map(factorial, Counter(w).values()))


def _words_apart(w: str, x: str) -> int:
    """The other letters in any order, and each ``x`` in a gap of its own."""
    others = w.replace(x, "")
    return _words(others) * comb(len(others) + 1, w.count(x))


def _necklaces(a: int, b: int) -> int:
    """Burnside's lemma over the rotations."""
    fixed: list[int] = [b ** gcd(a, turn) for turn in range(a)]
    return sum(fixed) // a


def _word(rng: random.Random, lengths: Sequence[int]) -> str:
    letters = [letter for letter, times in zip("ABCD", lengths, strict=False) for _ in range(times)]
    rng.shuffle(letters)
    return "".join(letters)


def _any_word(rng: random.Random) -> Numbers:
    return {"w": _word(rng, [rng.randint(1, 3) for _ in range(3)])}


def _word_with_gaps(rng: random.Random) -> Numbers:
    return {"w": _word(rng, [rng.randint(2, 3), rng.randint(1, 3), rng.randint(1, 2)]), "x": "A"}


FAMILIES = (
    Family(
        "lattice_paths",
        (
            Level(_PATHS + "?", between(a=(1, 3), b=(2, 6)), _paths),
            Level(_PATHS + "?", between(a=(4, 7), b=(4, 7)), _paths),
            Level(
                _PATHS + " without passing through the point ({c}, {d})?",
                between(a=(4, 7), b=(4, 7), c=(1, 3), d=(1, 3)),
                _paths_around,
            ),
            Level(
                _PATHS + " without passing through either of the points ({c}, {d}) and ({e}, {f})?",
                _two_points,
                _paths_around_two,
            ),
        ),
    ),
    Family(
        "digits",
        (
            Level(
                "How many of the positive integers with {n} digits have the digit sum {s}?",
                between(n=(2, 2), s=(2, 16)),
                _with_sum,
            ),
            Level(
                "How many of the positive integers with {n} digits have the digit sum {s}?",
                between(n=(3, 4), s=(4, 22)),
                _with_sum,
            ),
            Level(
                "How many of the positive integers with {n} digits have the digit sum {s} and digits of "
                "which "
                "none is smaller than the one before it?",
                between(n=(3, 5), s=(9, 32)),
                _never_decreasing,
            ),
            Level(
                "How many of the positive integers with {n} digits are divisible by {c} and have no two "
                "equal "
                "digits next to each other?",
                between(n=(3, 5), c=(3, 19)),
                _no_equal_neighbours,
            ),
        ),
    ),
    Family(
        "coins",
        (
            Level(
                _COINS + "{a} and {b}" + _UNORDERED,
                until(between(n=(10, 24), a=(1, 3), b=(4, 7)), lambda n, a, b: _two_coins(n, a, b) > 1),
                _two_coins,
            ),
            Level(
                _COINS + "{a}, {b} and {c}" + _UNORDERED,
                between(n=(30, 70), a=(1, 3), b=(4, 7), c=(8, 12)),
                _three_coins,
            ),
            Level(
                _COINS + "{a}, {b}, {c} and {d}, if each value is used at least once" + _UNORDERED,
                between(n=(60, 120), a=(2, 3), b=(4, 7), c=(8, 12), d=(13, 19)),
                _each_coin,
            ),
            Level(
                _COINS + "{a}, {b} and {c}, with at most {m} coins in all" + _UNORDERED,
                between(n=(90, 180), a=(2, 3), b=(5, 7), c=(9, 14), m=(18, 30)),
                _limited,
            ),
        ),
    ),
    Family(
        "arrangements",
        (
            Level(
                "A club has {a} members. In how many ways can it choose {b} of them for a trip?",
                between(a=(5, 9), b=(2, 4)),
                _committees,
            ),
            Level(_WORDS + "?", _any_word, _words),
            Level(
                _WORDS + " such that no two letters {x} stand next to each other?",
                _word_with_gaps,
                _words_apart,
            ),
            Level(
                "How many different necklaces have {a} beads in a circle, each bead in one of {b} "
                "colours, if "
                "necklaces that a rotation turns into each other count as one? A necklace may not be "
                "turned over.",
                between(a=(4, 8), b=(2, 4)),
                _necklaces,
            ),
        ),
    ),
)

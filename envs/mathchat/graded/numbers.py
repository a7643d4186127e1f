"""Families about whole numbers: remainders, factorials, sequences and sums."""

from __future__ import annotations

import random
from fractions import Fraction
from math import gcd, lcm

from envs.mathchat.graded.family import Family, Level, Numbers, between, until

_LEAST = "What is the least integer above {n} that leaves the remainder "


def _congruent(n: int, *pairs: tuple[int, int]) -> int:
    """Returns the least integer above ``n`` with these (remainder, modulus), by the Chinese remainder
    theorem."""
    value, modulus = 0, 1
    for remainder, other in pairs:
        common = gcd(modulus, other)
        step = (remainder - value) // common * pow(modulus // common, -1, other // common)
        value, modulus = value + modulus * (step % (other // common)), lcm(modulus, other)
    return n + 1 + (value - n - 1) % modulus


def _one_remainder(n: int, a: int, b: int) -> int:
    return _congruent(n, (a, b))


def _two_remainders(n: int, a: int, b: int, c: int, d: int) -> int:
    return _congruent(n, (a, b), (c, d))


def _three_remainders(n: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return _congruent(n, (a, b), (c, d), (e, f))


def _consistent(rng: random.Random, count: int, moduli: tuple[int, int], above: int) -> Numbers:
    """Draws moduli with the remainders of one number, so that there is a solution."""
    number = rng.randint(1, 10**6)
    drawn: list[int] = []
    while len(drawn) < count:
        if (modulus := rng.randint(*moduli)) not in drawn:
            drawn.append(modulus)
    names = (("a", "b"), ("c", "d"), ("e", "f"))
    numbers = {"n": rng.randint(0, above)}
    for (remainder, divisor), value in zip(names, drawn, strict=False):
        numbers |= {remainder: number % value, divisor: value}
    return numbers


def _valuation(n: int, p: int) -> int:
    """Returns the exponent of the prime ``p`` in ``n!``: Legendre's formula."""
    exponent = 0
    while n := n // p:
        exponent += n
    return exponent


def _power_of(a: int, p: int) -> int:
    exponent = 0
    while a % p == 0:
        a, exponent = a // p, exponent + 1
    return exponent


def _zeros(n: int, b: int) -> int:
    factors, rest, prime = {}, b, 2
    while rest > 1:
        if exponent := _power_of(rest, prime):
            factors[prime], rest = exponent, rest // prime**exponent
        prime += 1
    return min(_valuation(n, prime) // exponent for prime, exponent in factors.items())


def _ratio_divisors(n: int, k: int) -> int:
    """Divisors of ``n! / k!``, from the exponents of its primes."""
    count = 1
    for p in range(2, n + 1):
        if all(p % q for q in range(2, p)):
            count *= _valuation(n, p) - _valuation(k, p) + 1
    return count


def _multiple(rng: random.Random) -> Numbers:
    p = rng.choice((2, 3, 5))
    return {"a": p ** rng.randint(1, 6) * rng.choice((1, 7, 11, 13)) * (1 if p == 3 else 3), "p": p}


def _step(a: int, d: int, n: int) -> int:
    return a + (n - 1) * d


def _affine(a: int, k: int, c: int, n: int) -> int:
    """The closed form: a geometric series beside the power."""
    power: int = k ** (n - 1)
    return a * power + c * ((power - 1) // (k - 1))


def _affine_mod(a: int, k: int, c: int, n: int, m: int) -> int:
    """The same form; the division is exact if the power is taken modulo (k - 1) m."""
    power: int = pow(k, n - 1, (k - 1) * m)
    return (a * power + c * ((power - 1) // (k - 1))) % m


def _two_terms(a: int, b: int, p: int, q: int, n: int, m: int) -> int:
    """A power of the companion matrix, by squaring."""
    square, power, exponent = (p, q, 1, 0), (1, 0, 0, 1), n - 1
    while exponent:
        if exponent % 2:
            power = _product(power, square, m)
        square, exponent = _product(square, square, m), exponent // 2
    return (power[2] * b + power[3] * a) % m


def _product(one: tuple[int, ...], other: tuple[int, ...], m: int) -> tuple[int, int, int, int]:
    a, b, c, d = one
    e, f, g, h = other
    return (a * e + b * g) % m, (a * f + b * h) % m, (c * e + d * g) % m, (c * f + d * h) % m


def _multiples(a: int, n: int) -> int:
    return a * n * (n + 1) // 2


def _squares(a: int, b: int) -> int:
    def to(n: int) -> int:
        return n * (n + 1) * (2 * n + 1) // 6

    return to(b) - to(a - 1)


def _products(n: int, c: int) -> int:
    return n * (n + 1) * (2 * n + 1) // 6 + c * n * (n + 1) // 2


def _telescope(n: int, c: int) -> Fraction:
    """1/(k (k + c)) is (1/k - 1/(k + c)) / c, and all but 2 c terms cancel."""
    kept = sum((Fraction(1, k) - Fraction(1, n + k) for k in range(1, c + 1)), Fraction())
    return kept / c


FAMILIES = (
    Family(
        "remainders",
        (
            Level(
                _LEAST + "{a} when divided by {b}?",
                lambda rng: _consistent(rng, 1, (4, 12), 60),
                _one_remainder,
            ),
            Level(
                _LEAST + "{a} when divided by {b} and the remainder {c} when divided by {d}?",
                lambda rng: _consistent(rng, 2, (4, 15), 40),
                _two_remainders,
            ),
            Level(
                _LEAST + "{a} when divided by {b}, {c} when divided by {d} and {e} when divided by {f}?",
                lambda rng: _consistent(rng, 3, (5, 17), 200),
                _three_remainders,
            ),
            Level(
                _LEAST + "{a} when divided by {b}, {c} when divided by {d} and {e} when divided by {f}?",
                lambda rng: _consistent(rng, 3, (24, 60), 20000),
                _three_remainders,
            ),
        ),
    ),
    Family(
        "factorials",
        (
            Level("How often can {a} be divided by {p} without a remainder?", _multiple, _power_of),
            Level(
                "What is the largest integer k such that the prime {p} to the power k divides the "
                "factorial of {n}?",
                lambda rng: {"p": rng.choice((2, 3, 5, 7)), "n": rng.randint(12, 80)},
                lambda p, n: _valuation(n, p),
            ),
            Level(
                "The factorial of {n} is written in base {b}. With how many zeros does it end?",
                lambda rng: {"n": rng.randint(40, 300), "b": rng.choice((6, 8, 9, 12, 15, 16, 18, 20, 24))},
                _zeros,
            ),
            Level(
                "The factorial of {n} is divided by the factorial of {k}. How many positive divisors has "
                "the result?",
                until(between(n=(10, 24), k=(3, 18)), lambda n, k: 3 <= n - k <= 8),
                _ratio_divisors,
            ),
        ),
    ),
    Family(
        "sequences",
        (
            Level(
                "The first term of a sequence is {a}, and each later term is {d} more than the one before. "
                "What is term number {n}?",
                between(a=(2, 30), d=(2, 12), n=(5, 20)),
                _step,
            ),
            Level(
                "The first term of a sequence is {a}, and each later term is {k} times the one before "
                "plus {c}. "
                "What is term number {n}?",
                between(a=(1, 6), k=(2, 4), c=(1, 9), n=(4, 7)),
                _affine,
            ),
            Level(
                "The first term of a sequence is {a}, and each later term is {k} times the one before "
                "plus {c}. "
                "What remainder does term number {n} leave when divided by {m}?",
                between(a=(1, 9), k=(2, 9), c=(1, 20), n=(40, 400), m=(50, 999)),
                _affine_mod,
            ),
            Level(
                "A sequence begins with {a} and {b}. Each later term is {p} times the one before plus {q} "
                "times the "
                "one before that. What remainder does term number {n} leave when divided by {m}?",
                between(a=(0, 9), b=(1, 9), p=(1, 6), q=(1, 6), n=(2000, 30000), m=(100, 2000)),
                _two_terms,
            ),
        ),
    ),
    Family(
        "sums",
        (
            Level(
                "What is the sum of the first {n} positive multiples of {a}?",
                between(a=(2, 9), n=(4, 12)),
                _multiples,
            ),
            Level(
                "What is the sum of the squares of all integers from {a} to {b}?",
                between(a=(2, 9), b=(12, 25)),
                _squares,
            ),
            Level(
                "What is the sum of the products k * (k + {c}) over all integers k from 1 to {n}?",
                between(c=(2, 15), n=(20, 90)),
                _products,
            ),
            Level(
                "What is the sum of the fractions 1 / (k * (k + {c})) over all integers k from 1 to {n}? "
                "Give a "
                "fraction.",
                between(c=(1, 3), n=(6, 20)),
                _telescope,
            ),
        ),
    ),
)

"""Families about chance, equations and shapes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from math import gcd, isqrt

from envs.mathchat.graded.family import Family, Level, Numbers, between, until

_FRACTION = " Give a fraction or an integer."


def _sums(dice: tuple[int, ...]) -> Counter[int]:
    """Returns how many rolls have each sum: one convolution for each die."""
    sums = Counter({0: 1})
    for faces in dice:
        sums = Counter(
            {
                total: sum(sums[total - face] for face in range(1, faces + 1))
                for total in range(max(sums) + faces + 1)
            }
        )
    return sums


def _exactly(a: int, s: int) -> Fraction:
    return Fraction(_sums((a, a))[s], a * a)


def _at_least(a: int, b: int, s: int) -> Fraction:
    return Fraction(sum(ways for total, ways in _sums((a, b)).items() if total >= s), a * b)


def _three_dice(a: int, s: int) -> Fraction:
    return Fraction(_sums((a, a, a))[s], a**3)


def _divisible(a: int, n: int, k: int) -> Fraction:
    return Fraction(sum(ways for total, ways in _sums((a,) * n).items() if total % k == 0), a**n)


def _one_unknown(a: int, b: int, c: int) -> Fraction:
    return Fraction(c - b, a)


def _two_unknowns(a: int, b: int, c: int, d: int, e: int, f: int) -> Fraction:
    """x + y, by Cramer's rule."""
    return Fraction((c * e - b * f) + (a * f - c * d), a * e - b * d)


def _three_unknowns(**given: int) -> Fraction:
    """x + y + z, by Cramer's rule; ``a`` to ``l`` are the numbers of the three equations in order."""
    rows = [[given[name] for name in names] for names in ("abcd", "efgh", "ijkl")]
    whole = _determinant([row[:3] for row in rows])
    changed = ([row[:at] + row[3:] + row[at + 1 : 3] for row in rows] for at in range(3))
    return Fraction(sum(map(_determinant, changed)), whole)


def _determinant(m: list[list[int]]) -> int:
    (a, b, c), (d, e, f), (g, h, i) = m
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _one_equation(rng: random.Random) -> Numbers:
    a, b, x = rng.randint(2, 9), rng.randint(1, 20), rng.randint(2, 15)
    return {"a": a, "b": b, "c": a * x + b}


def _two_equations(rng: random.Random) -> Numbers:
    x, y = rng.randint(1, 20), rng.randint(1, 20)
    a, b, d, e = (rng.randint(1, 9) for _ in range(4))
    return {"a": a, "b": b, "c": a * x + b * y, "d": d, "e": e, "f": d * x + e * y}


def _three_equations(rng: random.Random) -> Numbers:
    solution = [rng.randint(1, 15) for _ in range(3)]
    numbers: dict[str, int] = {}
    for names in ("abcd", "efgh", "ijkl"):
        factors = [rng.randint(1, 9) for _ in range(3)]
        total = sum(factor * value for factor, value in zip(factors, solution, strict=True))
        numbers |= dict(zip(names, [*factors, total], strict=True))
    return numbers


def _regular(a: int, b: int, d: int, e: int, **_: int) -> bool:
    return a * e != b * d


def _regular_three(**given: int) -> bool:
    return _determinant([[given[name] for name in names] for names in ("abc", "efg", "ijk")]) != 0


def _twice_area(*points: tuple[int, int]) -> int:
    """The shoelace formula."""
    pairs = zip(points, (*points[1:], points[0]), strict=True)
    return abs(sum(x * w - z * y for (x, y), (z, w) in pairs))


def _inside(*points: tuple[int, int]) -> int:
    """Pick's theorem: twice the area is 2 I + B - 2."""
    pairs = zip(points, (*points[1:], points[0]), strict=True)
    border = sum(gcd(z - x, w - y) for (x, y), (z, w) in pairs)
    return (_twice_area(*points) - border + 2) // 2


def _rectangle(a: int, b: int, c: int, d: int) -> int:
    return (c - a) * (d - b)


def _triangle(a: int, b: int, c: int, d: int, e: int, f: int) -> Fraction:
    return Fraction(_twice_area((a, b), (c, d), (e, f)), 2)


def _inside_triangle(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return _inside((a, b), (c, d), (e, f))


def _inside_four(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
    return _inside((a, b), (c, d), (e, f), (g, h))


def _hypotenuse(a: int, b: int) -> int:
    return isqrt(a * a + b * b)


def _heron(a: int, b: int, c: int) -> int:
    return isqrt((a + b + c) * (b + c - a) * (a + c - b) * (a + b - c)) // 4


def _inradius(a: int, b: int, c: int) -> Fraction:
    return Fraction(2 * _heron(a, b, c), a + b + c)


def _circumradius(a: int, b: int, c: int) -> Fraction:
    return Fraction(a * b * c, 4 * _heron(a, b, c))


def _legs(rng: random.Random) -> Numbers:
    m = rng.randint(2, 5)
    n, k = rng.randint(1, m - 1), rng.randint(1, 3)
    return {"a": k * (m * m - n * n), "b": 2 * k * m * n}


def _whole_area(largest: int) -> tuple[tuple[int, int, int], ...]:
    """Triangles without a right angle whose sides and area are integers."""
    found = []
    for c in range(3, largest + 1):
        for b in range(2, c + 1):
            for a in range(c - b + 1, b + 1):
                square = (a + b + c) * (b + c - a) * (a + c - b) * (a + b - c)
                if isqrt(square) ** 2 == square and isqrt(square) % 4 == 0 and a * a + b * b != c * c:
                    found.append((a, b, c))
    return tuple(found)


_TRIANGLES = _whole_area(60)


def _sides(least: int, most: int) -> Callable[[random.Random], Numbers]:
    fitting = [sides for sides in _TRIANGLES if least <= sides[2] <= most]
    return lambda rng: dict(zip("abc", rng.choice(fitting), strict=True))


_POLYGON = (
    "How many points with integer coordinates lie inside the {} with the corners {}, not on its border?"
)
_SIDED = "A triangle has sides of lengths {a}, {b} and {c}. What is "
_DICE = "each with {a} faces numbered from 1 to {a}, are rolled. What is the probability that the sum is "

FAMILIES = (
    Family(
        "dice",
        (
            Level(
                "Two fair dice, " + _DICE + "exactly {s}? Give a fraction.",
                until(between(a=(4, 8), s=(3, 15)), lambda a, s: s < 2 * a),
                _exactly,
            ),
            Level(
                "Two fair dice, one with {a} faces numbered from 1 to {a} and one with {b} faces numbered "
                "from 1 to {b}, "
                "are rolled. What is the probability that the sum is at least {s}? Give a fraction.",
                until(between(a=(4, 9), b=(8, 12), s=(5, 18)), lambda a, b, s: s < a + b),
                _at_least,
            ),
            Level(
                "Three fair dice, " + _DICE + "exactly {s}? Give a fraction.",
                until(between(a=(5, 10), s=(6, 24)), lambda a, s: s < 3 * a - 1),
                _three_dice,
            ),
            Level(
                "{n} fair dice, " + _DICE + "divisible by {k}? Give a fraction.",
                between(a=(5, 7), n=(4, 5), k=(3, 13)),
                _divisible,
            ),
        ),
    ),
    Family(
        "equations",
        (
            Level("Which number x satisfies {a} * x + {b} = {c}?", _one_equation, _one_unknown),
            Level(
                "The numbers x and y satisfy {a} * x + {b} * y = {c} and {d} * x + {e} * y = {f}. What is "
                "x + y?",
                until(_two_equations, _regular),
                _two_unknowns,
            ),
            Level(
                "The numbers x and y satisfy {a} * x + {b} * y = {c} and {d} * x + {e} * y = {f}. What is "
                "x + y?" + _FRACTION,
                until(
                    between(a=(2, 12), b=(2, 12), c=(10, 90), d=(2, 12), e=(2, 12), f=(10, 90)),
                    lambda **given: _regular(**given) and _two_unknowns(**given).denominator > 1,
                ),
                _two_unknowns,
            ),
            Level(
                "The numbers x, y and z satisfy {a} * x + {b} * y + {c} * z = {d}, {e} * x + {f} * y + "
                "{g} * z = {h} and "
                "{i} * x + {j} * y + {k} * z = {l}. What is x + y + z?",
                until(_three_equations, _regular_three),
                _three_unknowns,
            ),
        ),
    ),
    Family(
        "polygons",
        (
            Level(
                "A rectangle with sides along the axes has the opposite corners ({a}, {b}) and ({c}, "
                "{d}). What is its "
                "area?",
                between(a=(0, 5), b=(0, 5), c=(7, 15), d=(7, 15)),
                _rectangle,
            ),
            Level(
                "What is the area of the triangle with the corners ({a}, {b}), ({c}, {d}) and ({e}, {f})?"
                + _FRACTION,
                until(
                    between(a=(0, 5), b=(0, 9), c=(6, 15), d=(0, 9), e=(0, 15), f=(10, 20)),
                    lambda **given: _triangle(**given) > 0,
                ),
                _triangle,
            ),
            Level(
                _POLYGON.format("triangle", "({a}, {b}), ({c}, {d}) and ({e}, {f})"),
                until(
                    between(a=(0, 5), b=(0, 9), c=(6, 15), d=(0, 9), e=(0, 15), f=(10, 20)),
                    lambda **given: _inside_triangle(**given) > 4,
                ),
                _inside_triangle,
            ),
            Level(
                _POLYGON.format(
                    "quadrilateral", "({a}, {b}), ({c}, {d}), ({e}, {f}) and ({g}, {h}), in this order"
                ),
                between(
                    a=(0, 4), b=(9, 14), c=(9, 14), d=(0, 4), e=(24, 34), f=(9, 14), g=(9, 14), h=(24, 34)
                ),
                _inside_four,
            ),
        ),
    ),
    Family(
        "triangles",
        (
            Level(
                "The legs of a right triangle are {a} and {b} long. How long is its third side?",
                _legs,
                _hypotenuse,
            ),
            Level(_SIDED + "its area?", _sides(5, 25), _heron),
            Level(
                _SIDED + "the radius of the circle inside that touches all sides?" + _FRACTION,
                _sides(13, 45),
                _inradius,
            ),
            Level(
                _SIDED + "the radius of the circle through its corners?" + _FRACTION,
                _sides(20, 60),
                _circumradius,
            ),
        ),
    ),
)

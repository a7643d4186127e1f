"""A second method for each family of graded problems: goes through all cases, or uses other mathematics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, count, pairwise, product
from typing import Any

Point = tuple[int, int]


def lattice_paths(a: int, b: int, **blocked: int) -> int:
    values = iter(blocked.values())
    closed = set(zip(values, values, strict=True))
    return sum(closed.isdisjoint(walk(a + b, set(rights))) for rights in combinations(range(a + b), a))


def walk(steps: int, rights: set[int]) -> Iterator[Point]:
    x = y = 0
    for step in range(steps):
        x, y = (x + 1, y) if step in rights else (x, y + 1)
        yield x, y


def digits(n: int, s: int = 0, c: int = 0, *, rank: int) -> int:
    if rank == 3:
        return sum(sum(chosen) == s for chosen in combinations_with_replacement(range(1, 10), n))
    texts = map(str, range(10 ** (n - 1), 10**n))
    if rank < 3:
        return sum(sum(map(int, text)) == s for text in texts)
    return sum(int(text) % c == 0 and all(one != two for one, two in pairwise(text)) for text in texts)


def coins(n: int, m: int = 10**9, *, rank: int, **values: int) -> int:
    least, *others = values.values()
    from_one = rank == 3
    ways = 0
    for counts in product(*(range(from_one, n // value + 1) for value in others)):
        rest = n - sum(times * value for times, value in zip(counts, others, strict=True))
        if rest >= from_one * least and rest % least == 0:
            ways += sum(counts) + rest // least <= m
    return ways


def arrangements(a: int = 0, b: int = 0, w: str = "", x: str = "", *, rank: int) -> int:
    if rank == 1:
        return sum(1 for _ in combinations(range(a), b))
    if rank == 4:
        words = map("".join, product("ABCDE"[:b], repeat=a))
        return sum(word == min(word[n:] + word[:n] for n in range(a)) for word in words)
    return sum(not x or x + x not in word for word in spelled(Counter(w)))


def spelled(letters: Counter[str]) -> Iterator[str]:
    if not letters:
        yield ""
    for letter in sorted(letters):
        for rest in spelled(letters - Counter(letter)):
            yield letter + rest


def remainders(n: int, **given: int) -> int:
    values = iter(given.values())
    pairs = list(zip(values, values, strict=True))
    return next(k for k in count(n + 1) if all(k % modulus == remainder for remainder, modulus in pairs))


def factorials(n: int = 0, a: int = 0, p: int = 0, b: int = 0, k: int = 0, *, rank: int) -> int:
    if rank == 4:
        ratio, exponents = math.factorial(n) // math.factorial(k), Counter[int]()
        for prime in range(2, n + 1):
            while ratio % prime == 0:
                ratio, exponents[prime] = ratio // prime, exponents[prime] + 1
        return math.prod(exponent + 1 for exponent in exponents.values())
    whole, base = (a, p) if rank == 1 else (math.factorial(n), p or b)
    return next(power for power in count() if whole % base ** (power + 1))


def sequences(a: int, n: int, m: int = 0, *, rank: int, **given: int) -> int:
    terms = [a, given["b"]] if rank == 4 else [a]
    while len(terms) < n:
        if rank == 1:
            terms.append(terms[-1] + given["d"])
        elif rank == 4:
            terms.append((given["p"] * terms[-1] + given["q"] * terms[-2]) % m)
        else:
            terms.append(given["k"] * terms[-1] + given["c"])
    return terms[n - 1] % m if m else terms[n - 1]


def sums(n: int = 0, a: int = 0, b: int = 0, c: int = 0, *, rank: int) -> Fraction:
    if rank == 1:
        return Fraction(sum(range(a, n * a + 1, a)))
    if rank == 2:
        return Fraction(sum(k * k for k in range(a, b + 1)))
    return sum((Fraction(k * (k + c)) ** (1 if rank == 3 else -1) for k in range(1, n + 1)), Fraction())


def dice(a: int, b: int = 0, s: int = 0, n: int = 0, k: int = 0, *, rank: int) -> Fraction:
    faces = {1: [a, a], 2: [a, b], 3: [a, a, a]}.get(rank) or [a] * n
    rolls = [sum(roll) for roll in product(*(range(1, most + 1) for most in faces))]
    wanted = {1: lambda total: total == s, 2: lambda total: total >= s, 3: lambda total: total == s}
    hits: Callable[[int], bool] = wanted.get(rank, lambda total: total % k == 0)
    return Fraction(sum(map(hits, rolls)), len(rolls))


def equations(*, rank: int, **given: int) -> Fraction:
    values = list(given.values())
    if rank == 1:
        a, b, c = values
        return Fraction(next(x for x in range(1000) if a * x + b == c))
    if rank == 4:
        rows = [values[:4], values[4:8], values[8:]]
        return Fraction(next(sum(found) for found in product(range(1, 16), repeat=3) if solves(rows, found)))
    a, b, c, d, e, f = values
    if rank == 2:
        return Fraction(
            next(
                sum(found) for found in product(range(21), repeat=2) if solves([[a, b, c], [d, e, f]], found)
            )
        )
    y = (f - Fraction(d * c, a)) / (e - Fraction(d * b, a))  # elimination
    return (c - b * y) / a + y


def solves(rows: list[list[int]], found: tuple[int, ...]) -> bool:
    return all(sum(map(int.__mul__, row[:-1], found)) == row[-1] for row in rows)


def polygons(*, rank: int, **given: int) -> Fraction:
    values = iter(given.values())
    corners = list(zip(values, values, strict=True))
    if rank == 1:
        (a, b), (c, d) = corners
        return Fraction(len(list(product(range(a, c), range(b, d)))))
    box = product(range(max(x for x, _ in corners) + 1), range(max(y for _, y in corners) + 1))
    places = Counter(place(point, corners) for point in box)
    if rank == 2:  # Pick's theorem, from the counts
        return places["inside"] + Fraction(places["border"], 2) - 1
    return Fraction(places["inside"])


def place(point: Point, corners: list[Point]) -> str:
    """Counts the edges that a ray to the right crosses."""
    x, y = point
    crossed = False
    for (a, b), (c, d) in zip(corners, [*corners[1:], corners[0]], strict=True):
        side = (c - a) * (y - b) - (d - b) * (x - a)
        if side == 0 and min(a, c) <= x <= max(a, c) and min(b, d) <= y <= max(b, d):
            return "border"
        if (b > y) != (d > y) and (side > 0) == (d > b):
            crossed = not crossed
    return "inside" if crossed else "outside"


def triangles(a: int, b: int, c: int = 0, *, rank: int) -> Fraction:
    """Puts the corners at (0, 0), (c, 0) and (x, y)."""
    if rank == 1:
        return Fraction(next(k for k in count(1) if k * k == a * a + b * b))
    x = Fraction(b * b + c * c - a * a, 2 * c)
    y = root(b * b - x * x)
    if rank == 2:
        return c * y / 2
    if rank == 3:
        center, radius = (c * x + b * c) / (a + b + c), c * y / (a + b + c)
        assert radius == abs(x * radius - y * center) / b == abs((x - c) * radius - y * (center - c)) / a
        return radius
    height = (x * x + y * y - c * x) / (2 * y)
    return root(Fraction(c * c, 4) + height * height)


def root(square: Fraction) -> Fraction:
    found = Fraction(math.isqrt(square.numerator), math.isqrt(square.denominator))
    assert found * found == square
    return found


RANKED = (digits, coins, arrangements, factorials, sequences, sums, dice, equations, polygons, triangles)
"""Those whose levels ask different things."""


def solve(family: str, rank: int, given: dict[str, Any]) -> Fraction:
    second: dict[str, Callable[..., int | Fraction]] = {
        method.__name__: method for method in (lattice_paths, remainders, *RANKED)
    }
    method = second[family]
    return Fraction(method(**given, rank=rank) if method in RANKED else method(**given))

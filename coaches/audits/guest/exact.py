"""Numbers for a program that is run again in exact arithmetic (``coaches.audits.recomputed``).

Only a result that is rational from end to end tells anything. Where such a number meets a floating-point one,
or has to become one, as a square root does, the program ends without a result; so it does before it takes
long."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any

MOST_OPERATIONS = 200_000
"""About half a second. Counted rather than timed: a verdict is the same on any machine."""
MOST_BITS = 4096
"""Of numerators and denominators; a float that is finite has fewer than 1100."""
_MOST_ROOT = 16
_operations = itertools.count(1)


class Exact(Fraction):
    """A fraction in the place of a float. As text, it is the float next to it; a whole number that no float
    can hold is written in full."""

    def __str__(self) -> str:
        near = self.numerator / self.denominator
        is_lost = self.denominator == 1 and int(near) != self.numerator
        return str(self.numerator) if is_lost else repr(near)

    __repr__ = __str__

    def __format__(self, form: str) -> str:
        return format(self.numerator / self.denominator, form) if form else str(self)

    def __float__(self) -> float:
        return float(lost())

    def __hash__(self) -> int:  # type: ignore[override]  # typeshed: a number need not have one
        if self.denominator & (self.denominator - 1):  # a float beside it would not be found
            lost()
        return super().__hash__()

    def __pow__(self, exponent: Any) -> Any:
        return power(self, exponent)

    def __rpow__(self, base: Any) -> Any:
        return power(base, self)

    def is_integer(self) -> bool:
        return self.denominator == 1


def lost() -> Any:
    """Ends the program without a result; no handler of its own can keep it going."""
    os._exit(1)


def exact(value: Any) -> Any:
    """Returns a fraction as ``Exact``, and anything else as it is. Counts."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    if not isinstance(value, Fraction):
        return value
    if (
        next(_operations) > MOST_OPERATIONS
        or max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS
    ):
        lost()
    return Exact(value)


def _operator(name: str, *, compares: bool) -> Callable[..., Any]:
    plain: Callable[..., Any] = getattr(Fraction, name)

    def operate(*values: Any) -> Any:
        for value in values:
            if isinstance(value, float | complex) and not (compares and value in (math.inf, -math.inf)):
                lost()
        return exact(plain(*values))

    return operate


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod"):
    setattr(Exact, f"__{_name}__", _operator(f"__{_name}__", compares=False))
    setattr(Exact, f"__r{_name}__", _operator(f"__r{_name}__", compares=False))
for _name in ("neg", "pos", "abs", "round"):
    setattr(Exact, f"__{_name}__", _operator(f"__{_name}__", compares=False))
for _name in ("eq", "lt", "le", "gt", "ge"):
    setattr(Exact, f"__{_name}__", _operator(f"__{_name}__", compares=True))


def number(text: str) -> Any:
    """Returns what a literal says, rather than the float next to it."""
    return exact(Fraction(text))


def as_float(value: Any = 0) -> Any:
    """Stands for ``float``."""
    if isinstance(value, int | Exact):
        return exact(Fraction(value))
    near = float(value)  # raises what the program expects, if it is no number
    return number(value.strip().replace("_", "")) if isinstance(value, str) and math.isfinite(near) else near


def divided(left: Any, right: Any) -> Any:
    """Stands for ``left / right``."""
    if isinstance(left, int | Exact) and isinstance(right, int | Exact):
        return exact(Fraction(left) / Fraction(right))
    return left / right


def power(base: Any, exponent: Any) -> Any:
    """Stands for ``base ** exponent``. A root that is whole is whole; another is a float."""
    both = isinstance(base, int | Exact) and isinstance(exponent, int | Exact)
    if isinstance(base, Exact) or isinstance(exponent, Exact):
        if not both:
            lost()
    elif not (both and exponent < 0):
        return base**exponent
    base, exponent = Fraction(base), Fraction(exponent)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * bits > MOST_BITS:
        lost()
    if exponent.denominator == 1:
        return exact(base**exponent.numerator)
    whole = _root(base, exponent.denominator)
    return base**exponent if whole is None else exact(whole**exponent.numerator)


def _root(base: Fraction, degree: int) -> Fraction | None:
    if base.denominator != 1 or base < 0 or degree > _MOST_ROOT:
        return None
    near = round(float(base) ** (1.0 / degree))
    return Fraction(near) if near**degree == base.numerator else None

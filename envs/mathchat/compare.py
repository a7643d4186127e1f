"""The child process of ``equivalence``. It is run as a script and imports no other module of this project.

Reads a JSON pair ``[golds, givens]`` of lists of trees (``structure.Node.as_json``) from each line of stdin
and replies ``true`` if any two of them are equal, ``false``, or ``null`` if that cannot be decided. The
kernel kills the process if one pair takes more CPU seconds than its first argument.

Nothing is rounded. Equality of numbers is proven: by exact arithmetic, or by the minimal polynomial of the
difference if it is algebraic. Only a difference that is not known to be algebraic is taken for zero if 1000
digits do not tell it from zero.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any, NamedTuple

import sympy  # type: ignore[import-untyped]
from latex2sympy2_extended.latex2sympy2 import (  # type: ignore[import-untyped]
    ConversionConfig,
    NormalizationConfig,
    latex2sympy,
    normalize_latex,
)

_MEMORY = 2**31
_DIGITS = 1000
_NORMAL = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
)
_STRICT = ConversionConfig(
    interpret_as_mixed_fractions=False, interpret_contains_as_eq=False, lowercase_symbols=False
)


class Tree(NamedTuple):
    """``structure.Node``, as it arrives."""

    kind: str
    text: str
    parts: list[Tree]
    unit: str
    base: int


class UnreadableError(Exception):
    """An expression that is no mathematics."""


def tree(data: list[Any]) -> Tree:
    kind, text, parts, unit, base = data
    return Tree(kind, text, [tree(part) for part in parts], unit, base)


def same(gold: Tree, given: Tree) -> bool:
    """Compares two answers. What the correct answer leaves open (a name, a unit) the given one may say."""
    if "named" in (gold.kind, given.kind):
        return _same_named(gold, given)
    if gold.kind != "relation" and given.kind == "relation" and given.text == "=":
        return same(gold, given.parts[1])
    if gold.kind != given.kind:
        return _same_kinds(gold, given)
    if gold.kind == "scalar":
        return _same_scalar(gold, given)
    if gold.kind == "text":
        return gold.text == given.text
    if gold.kind == "relation":
        return _same_relation(gold, given)
    if gold.kind == "tuple":
        return gold.text == given.text and _in_order(gold.parts, given.parts)
    if gold.kind == "matrix":
        return _in_order(gold.parts, given.parts)
    return _in_any_order(gold.parts, given.parts)


def _same_named(gold: Tree, given: Tree) -> bool:
    if gold.kind == given.kind:
        return gold.text == given.text and same(gold.parts[0], given.parts[0])
    if gold.kind == "relation" or given.kind == "relation":
        return _same_relation(_as_relation(gold), _as_relation(given))
    unnamed = [one.parts[0] if one.kind == "named" else one for one in (gold, given)]
    return same(unnamed[0], unnamed[1])


def _as_relation(one: Tree) -> Tree:
    if one.kind != "named":
        return one
    return Tree("relation", "=", [Tree("scalar", one.text, [], "", 0), one.parts[0]], "", 0)


def _same_kinds(gold: Tree, given: Tree) -> bool:
    kinds = {gold.kind, given.kind}
    several = ("list", "set", "union")
    if gold.kind in several and given.kind in several:
        intervals = all(part.kind == "tuple" for part in (*gold.parts, *given.parts))
        return ("union" not in kinds or intervals) and _in_any_order(gold.parts, given.parts)
    if kinds == {"list", "tuple"}:
        return _in_order(gold.parts, given.parts)
    if kinds == {"matrix", "tuple"}:
        matrix, vector = sorted((gold, given), key=lambda one: one.kind)
        cells = [row.parts[0] for row in matrix.parts if len(row.parts) == 1]
        return vector.text == "()" and len(cells) == len(matrix.parts) and _in_order(cells, vector.parts)
    for one, other in ((gold, given), (given, gold)):
        if one.kind in several and one.parts:
            return all(same(part, other) if one is gold else same(other, part) for part in one.parts)
    return False


def _in_order(golds: list[Tree], givens: list[Tree]) -> bool:
    return len(golds) == len(givens) and all(map(same, golds, givens))


def _in_any_order(golds: list[Tree], givens: list[Tree]) -> bool:
    """Compares sets: a repeated element counts once."""
    return all(any(same(gold, given) for given in givens) for gold in golds) and all(
        any(same(gold, given) for gold in golds) for given in givens
    )


def _same_scalar(gold: Tree, given: Tree) -> bool:
    if gold.base or given.base:
        return _same_based(gold, given)
    if "%" in (gold.unit, given.unit) and gold.unit != given.unit:
        return _same_percent(gold, given)
    if not _compatible(gold.unit, given.unit):
        return False
    value = _value(gold)
    return _equal(value, _value(given)) or (
        not gold.unit and len(given.unit) > 0 and _with_letter(value, given)
    )


def _compatible(gold: str, given: str) -> bool:
    return not gold or not given or gold == given or "unit" in (gold.split("^")[0], given.split("^")[0])


def _with_letter(value: sympy.Expr, given: Tree) -> bool:
    """``7 m`` may also be the product of 7 and the variable m, and ``7 ab`` of 7, a and b."""
    letters = given.unit
    product = len(letters) <= 3 and letters.isalpha()
    return bool(value.free_symbols) and product and _equal(value, _read(f"{given.text} {letters}"))


def _same_percent(gold: Tree, given: Tree) -> bool:
    """``45\\%`` is 0.45, and 45 where percent are asked for. A number up to 1 may be the share itself: there,
    percent must be written."""
    other = given.unit if gold.unit == "%" else gold.unit
    if other:
        return False
    percent, plain = (gold, given) if gold.unit == "%" else (given, gold)
    value, number = _value(percent), _value(plain)
    return _equal(value / 100, number) or (bool(abs(number) > 1) and _equal(value, number))


def _same_based(gold: Tree, given: Tree) -> bool:
    if gold.base and not given.base:  # the question says the base
        return gold.text.lstrip("0") == given.text.lstrip("0")
    return bool(_value(gold) == _value(given)) and given.base == (gold.base or given.base)


def _same_relation(gold: Tree, given: Tree) -> bool:
    """Compares ``left - right`` up to a factor, which is positive unless the relation is symmetric."""
    if given.kind != "relation" or gold.kind != "relation" or gold.text != given.text:
        return False
    first, second = (_value(one.parts[0]) - _value(one.parts[1]) for one in (gold, given))
    if _is_zero(first) or _is_zero(second):
        return _is_zero(first) and _is_zero(second)
    ratio = sympy.simplify(first / second)
    return bool(ratio.is_number and (ratio.is_positive or (gold.text in ("=", "!=") and ratio.is_real)))


def _value(one: Tree) -> sympy.Expr:
    if one.kind != "scalar":
        raise UnreadableError(one.kind)
    if one.base:
        try:
            return sympy.Integer(int(one.text, one.base))
        except ValueError:
            raise UnreadableError(one.text) from None
    return _read(one.text)


def _read(latex: str) -> sympy.Expr:
    try:
        parsed = latex2sympy(
            normalize_latex(latex, _NORMAL),
            is_real=True,
            normalization_config=None,
            conversion_config=_STRICT,
        )
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the parser raises Exception itself
        raise UnreadableError(latex) from error
    if not isinstance(parsed, sympy.Expr) or parsed.has(sympy.Float):
        raise UnreadableError(latex)
    # An odd root of a negative number is the real one, as in school.
    return sympy.real_root(parsed.subs(sympy.Symbol("i", real=True), sympy.I).doit())


def _equal(one: sympy.Expr, other: sympy.Expr) -> bool:
    if one == other:
        return not one.has(sympy.nan, sympy.zoo)
    if one.has(sympy.oo, -sympy.oo, sympy.nan, sympy.zoo) or other.has(
        sympy.oo, -sympy.oo, sympy.nan, sympy.zoo
    ):
        return False
    return _is_zero(one - other)


def _is_zero(difference: sympy.Expr) -> bool:
    if difference.is_Rational:
        return bool(difference == 0)
    if difference.free_symbols:
        return bool(sympy.expand(difference) == 0 or sympy.simplify(difference) == 0)
    if any(part.is_nonzero or _known(part) for part in difference.as_real_imag()):
        return False
    if difference.is_algebraic:
        return bool(sympy.minimal_polynomial(difference, sympy.Dummy()).is_Symbol)
    return True


def _known(part: sympy.Expr) -> bool:
    """Whether digits tell ``part`` from zero: sympy then knows some of them."""
    number = part.evalf(5, maxn=_DIGITS)
    return bool(number.is_Float and number != 0 and number._prec > 1)


def answer(golds: list[Any], givens: list[Any]) -> bool | None:
    unknown = False
    for gold in map(tree, golds):
        for given in map(tree, givens):
            try:
                if same(gold, given):
                    return True
            except UnreadableError:
                continue
            except Exception:  # sympy's own limits: memory, recursion, what it cannot decide
                unknown = True
    return None if unknown else False


def main(timeout: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    one = ["scalar", "\\sqrt{2}", [], "", 0]
    answer([one], [["scalar", "x", [], "", 0], one])  # triggers late imports now, outside of the time limit
    print("ready", flush=True)
    for line in sys.stdin:
        golds, givens = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, timeout)  # the default action of SIGPROF ends the process
        reply = answer(golds, givens)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))

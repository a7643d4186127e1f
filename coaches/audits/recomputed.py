"""The same program in another way: with exact numbers, and with other random numbers.

Each returns a program to run in the sandbox of the audits. Where it prints another value, the first one came
from rounding, or from chance."""

from __future__ import annotations

import ast
import math
import re
from fractions import Fraction

from coaches.audits.trees import shallow

_SEED = 20260101
_SEEDING = frozenset(("seed", "Random", "SystemRandom", "default_rng", "RandomState", "SeedSequence"))
_SEEDS = frozenset(("seed", "random_state"))
_RATIONAL = frozenset(
    ("math", "itertools", "functools", "collections", "operator", "string", "heapq", "bisect", "typing")
)
"""Modules whose functions take a fraction for a number, or refuse it."""
_TELLS_APART = frozenset(("isinstance", "type", "eval", "exec", "complex"))
_EXACT = "_coachgym_exact"
_WHOLE = re.compile(r"(?<![\w.])-?\d{1,1000}(?:\.0+)?(?=\W*$)")


def exactly(code: str) -> str | None:
    """Returns the program with fractions in the place of floats; None if it has none, or might notice.

    >>> print(exactly("print(int(float(5) ** 62) % 10)"))
    import coaches.audits.guest.exact as _coachgym_exact
    print(int(_coachgym_exact.power(_coachgym_exact.as_float(5), 62)) % 10)
    """
    tree = shallow(code)
    if tree is None or not _is_rational(tree):
        return None
    rewriter = _Exactly()
    changed = ast.fix_missing_locations(rewriter.visit(tree))
    if not rewriter.floats or rewriter.unsure:
        return None
    return f"import coaches.audits.guest.exact as {_EXACT}\n{ast.unparse(changed)}"


def reseeded(code: str) -> str | None:
    """Returns a program that draws random numbers with another seed, also where it sets one itself; None if
    it draws none.

    >>> print(reseeded("import random\\nrandom.seed(7)\\nprint(random.random())"))
    import random as _random
    _random.seed(20260101)
    import random
    random.seed(20260101)
    print(random.random())
    """
    tree = shallow(code)
    if tree is None or "random" not in code:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func).rpartition(".")[2] in _SEEDING and node.args:
                node.args = [ast.Constant(_SEED)]
            for keyword in node.keywords:
                if keyword.arg in _SEEDS:
                    keyword.value = ast.Constant(_SEED)
    return f"import random as _random\n_random.seed({_SEED})\n{ast.unparse(ast.fix_missing_locations(tree))}"


def whole(line: str) -> int | None:
    """Returns the whole number in which a printed line ends; None if it ends in something else.

    >>> whole("The answer is 74."), whole("6.0"), whole("1e22"), whole("0.5")
    (74, 6, None, None)
    """
    found = _WHOLE.search(line)
    return None if found is None else int(Fraction(found.group()))


def _is_rational(tree: ast.Module) -> bool:
    """Returns whether a program would do the same with fractions: it imports nothing that computes in its own
    way, handles no error, and does not ask for the type of a number."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            modules = []
        if any(name.partition(".")[0] not in _RATIONAL for name in modules):
            return False
        if isinstance(node, ast.Try | ast.TryStar) or (
            isinstance(node, ast.Name) and node.id in _TELLS_APART
        ):
            return False
    return True


class _Exactly(ast.NodeTransformer):
    """Replaces what makes floats: literals, ``/``, ``float`` and powers."""

    def __init__(self) -> None:
        self.floats = self.unsure = False

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, float) or not math.isfinite(node.value):
            return node
        self.floats = True
        return _call("number", ast.Constant(repr(node.value)))

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id != "float" or not isinstance(node.ctx, ast.Load):
            return node
        self.floats = True
        return ast.Attribute(ast.Name(_EXACT), "as_float")

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        return self._replaced(node.left, node.op, node.right) or node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            self.unsure |= isinstance(node.op, ast.Div | ast.Pow)
            return node
        value = self._replaced(ast.Name(node.target.id), node.op, node.value)
        return node if value is None else ast.Assign([node.target], value)

    def visit_Match(self, node: ast.Match) -> ast.stmt:
        self.unsure = True  # a pattern takes literals alone
        return node

    def _replaced(self, left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.expr | None:
        if isinstance(operator, ast.Div):
            self.floats = True
            return _call("divided", left, right)
        return _call("power", left, right) if isinstance(operator, ast.Pow) else None


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Name(_EXACT), name), list(arguments), [])

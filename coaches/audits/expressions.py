"""Expressions that a text contains, and the numbers of texts and programs."""

from __future__ import annotations

import ast
import re

from coaches.audits.trees import shallow

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
_NAMES = frozenset(
    ("sum", "len", "range", "str", "int", "float", "min", "max", "abs", "all", "any", "next", "sorted", "set",
     "list", "tuple", "pow", "divmod", "enumerate", "zip", "map", "filter", "reversed", "round", "math",
     "itertools", "fractions", "Fraction", "gcd", "lcm", "comb", "perm", "factorial", "isqrt", "product",
     "combinations", "permutations", "append")
)  # fmt: skip
"""Functions that an expression may call to be evaluated: arithmetic, and nothing that prints or imports."""
_ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_MAX_CHARS = 2000


def numbers(text: str) -> set[str]:
    """Returns the whole and decimal numbers of a text or a program, without separators of thousands."""
    return {one.lstrip("0") or "0" for one in _NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))}


def bounds(expression: str) -> set[str]:
    """Returns the numbers of an expression that bound a range or are compared with less or more."""
    found: set[str] = set()
    for node in ast.walk(shallow(expression) or ast.Module([], [])):
        is_range = isinstance(node, ast.Call) and ast.unparse(node.func) == "range"
        if is_range or (isinstance(node, ast.Compare) and any(isinstance(one, _ORDERS) for one in node.ops)):
            found |= numbers(ast.unparse(node))
    return found


def of_plan(text: str) -> list[str]:
    """Returns the expressions in a plan that compute something, from lines such as ``Compute: sum(…)``, each
    once, the last one first.

    Only those that consist of arithmetic alone.
    """
    found: dict[str, None] = {}
    for line in reversed(text.splitlines()):
        for part in (line, line.partition(":")[2], *re.findall(r"`([^`]+)`", line)):
            expression = str(part).strip().strip("`").strip()
            if 3 <= len(expression) <= _MAX_CHARS and _computes(expression):
                found[expression] = None
    return list(found)


def _computes(text: str) -> bool:
    tree = shallow(text)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    nodes = list(ast.walk(tree.body[0].value))
    if not any(isinstance(node, ast.BinOp | ast.Call) for node in nodes):
        return False
    if not any(isinstance(node, ast.Constant) for node in nodes):
        return False
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return loaded <= _NAMES | stored and attributes <= _NAMES

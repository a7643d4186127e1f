"""Part of the probe of artifacts, inside a sandbox: which attributes of its object a method of a library
reads whatever happens, from its source. Standard library only; nothing is called."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Any

Names = frozenset[str] | None
"""None: all names, of code that is never reached."""
_NONE = frozenset[str]()
_DEEPEST = 12


@cache
def reads(cls: type, method: str) -> frozenset[str]:
    """Returns the names of attributes that every call of ``method`` reads of its object before it returns,
    also in the methods and properties that it uses.

    Of a loop, one pass is taken to be made. Includes what ``check_is_fitted`` and ``validate_data`` of
    scikit-learn are asked to read, and ``check_is_fitted`` itself."""
    return _Reader(cls, {}).method(method, 0, 0)


class _Reader:
    def __init__(self, cls: type, known: dict[tuple[str, int], frozenset[str]]) -> None:
        self.cls, self.known = cls, known

    def method(self, name: str, start: int, depth: int) -> frozenset[str]:
        """Returns what the method reads that is found first from the class ``start`` of the order on."""
        if (name, start) in self.known or depth > _DEEPEST:
            return self.known.get((name, start), _NONE)
        self.known[name, start] = _NONE  # a method that calls itself adds nothing
        for place, base in enumerate(self.cls.__mro__):
            if place >= start and name in vars(base):
                function = vars(base)[name]
                self.known[name, start] = _Function(self, place, depth).read(function)
                break
        return self.known[name, start]


class _Function:
    """Reads the source of one function of the class at ``place`` in the order of ``reader.cls``."""

    def __init__(self, reader: _Reader, place: int, depth: int) -> None:
        self.reader, self.place, self.depth, self.me = reader, place, depth, ""

    def read(self, function: Any) -> frozenset[str]:
        if isinstance(function, property):
            function = function.fget
        function = getattr(function, "fn", function)  # of a method that is there under a condition
        if not inspect.isfunction(function):
            return _NONE
        try:
            [tree] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        except (OSError, TypeError, ValueError, SyntaxError):
            return _NONE
        if not isinstance(tree, ast.FunctionDef) or not tree.args.args:
            return _NONE
        self.me = tree.args.args[0].arg
        return self.block(tree.body, _NONE) or _NONE

    def block(self, statements: list[ast.stmt], after: Names) -> Names:
        """Returns what is read on every path from here to the end; ``after``: on all paths from there on."""
        for each in reversed(statements):
            after = self.statement(each, after)
        return after

    def statement(self, each: ast.stmt, after: Names) -> Names:
        if isinstance(each, ast.Raise):
            return None
        if isinstance(each, ast.Return):
            return self.expression(each)
        if isinstance(each, ast.If):
            paths = [self.block(each.body, after), self.block(each.orelse, after)]
            open_ = [path for path in paths if path is not None]
            return _with(self.expression(each.test), open_[0] & open_[-1] if open_ else None)
        if isinstance(each, ast.For):
            return _with(self.expression(each.iter), self.block(each.body, after))
        if isinstance(each, ast.With):
            heads = _NONE.union(*(self.expression(item.context_expr) for item in each.items))
            return _with(heads, self.block(each.body, after))
        if isinstance(each, ast.While | ast.Try | ast.Match | ast.FunctionDef | ast.ClassDef):
            return _NONE if any(isinstance(inner, ast.Return) for inner in ast.walk(each)) else after
        return _with(self.expression(each), after)

    def expression(self, node: ast.AST) -> frozenset[str]:
        """Returns what an expression reads, but for its parts that are not always evaluated."""
        if isinstance(node, ast.Lambda | ast.GeneratorExp):
            return _NONE
        if isinstance(node, ast.BoolOp):
            return self.expression(node.values[0])
        if isinstance(node, ast.IfExp):
            return self.expression(node.test)
        inside = _NONE.union(*(self.expression(each) for each in ast.iter_child_nodes(node)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            return inside | self.attribute(node)
        return inside | self.asked(node) if isinstance(node, ast.Call) else inside

    def attribute(self, node: ast.Attribute) -> frozenset[str]:
        if isinstance(node.value, ast.Name) and node.value.id == self.me:
            return self.reader.method(node.attr, 0, self.depth + 1) | {node.attr}
        if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super":
            return self.reader.method(node.attr, self.place + 1, self.depth + 1)
        return _NONE

    def asked(self, call: ast.Call) -> frozenset[str]:
        name = getattr(call.func, "id", "")
        if [getattr(each, "id", "") for each in call.args[:1]] != [self.me]:
            return _NONE
        if name == "check_is_fitted":
            texts = [each.value for each in call.args[1:2] if isinstance(each, ast.Constant)]
            return frozenset({name, *(text for text in texts if isinstance(text, str))})
        resets = [each.value for each in call.keywords if each.arg == "reset"]
        again = any(isinstance(each, ast.Constant) and each.value is False for each in resets)
        return frozenset({"n_features_in_"}) if name == "validate_data" and again else _NONE


def _with(first: frozenset[str], second: Names) -> Names:
    return None if second is None else first | second

"""Does a program fit something on rows of the test table? Read from its text, without running it.

Names that hold rows of ``test.csv`` or ``X_test.pkl`` are followed through assignments, method chains, calls
whose first argument they are, and concatenations. A call of ``fit``, ``fit_transform``, ``fit_predict`` or
``partial_fit`` on such rows counts. What is not followed (functions of the program's own, loops over file
names, rows cut out of a concatenation) is taken for harmless: this is a signal and no proof, in both
directions.
"""

from __future__ import annotations

import ast

_FILES = ("test.csv", "X_test.pkl")
_FITS = frozenset(("fit", "fit_transform", "fit_predict", "partial_fit"))
_JOINS = frozenset(("concat", "concatenate", "vstack", "append", "r_"))
_NOT_ROWS = frozenset(
    ("columns", "shape", "dtypes", "index", "size", "keys", "nunique", "describe", "info", "head", "isna")
)
_TEST, _BOTH = "rows of the test table", "training and test rows together"


def fitted_on_test(tree: ast.Module) -> str:
    """Returns what the program fits on test rows, as ``fit on rows of the test table``; "" if nothing."""
    reader = _Reader()
    reader.visit(tree)
    return reader.found


class _Reader(ast.NodeVisitor):
    """Reads statements in their order."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        """Name -> whose rows it holds."""
        self.found = ""

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in _FITS and not self.found:
            data = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "X")]
            if rows := next((rows for one in data if (rows := self._rows(one))), ""):
                self.found = f"{function.attr} on {rows}"

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.held[target.id] = self._rows(value)
        elif isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                found = [self._rows(one) for one in value.elts]  # before any of them is assigned
            else:
                names = _strings(value)
                found = [self._by_name(one, names) for one in target.elts]
            for one, rows in zip(target.elts, found, strict=True):
                if isinstance(one, ast.Name):
                    self.held[one.id] = rows

    def _by_name(self, target: ast.expr, strings: set[str]) -> str:
        """``train, test = (read(name) for name in ("train.csv", "test.csv"))``"""
        named = isinstance(target, ast.Name) and "test" in target.id.lower()
        return _TEST if named and not strings.isdisjoint(_FILES) else ""

    def _rows(self, node: ast.expr) -> str:
        """Returns whose rows the value of an expression has: "", ``_TEST`` or ``_BOTH``."""
        if isinstance(node, ast.Name):
            return self.held.get(node.id, "")
        if isinstance(node, ast.Attribute):
            return "" if node.attr in _NOT_ROWS else self._rows(node.value)
        if isinstance(node, ast.Subscript):
            if _called(node.value) in _JOINS:  # np.r_[a, b]
                return self._joined(node.slice)
            rows = self._rows(node.value)
            return rows if rows == _TEST or _is_column(node.slice) else ""
        if isinstance(node, ast.BinOp):
            return self._rows(node.left) or self._rows(node.right)
        return self._of_call(node) if isinstance(node, ast.Call) else ""

    def _of_call(self, node: ast.Call) -> str:
        name, first = _called(node.func), node.args[:1]
        if isinstance(node.func, ast.Attribute) and name in _NOT_ROWS:
            return ""
        if any(isinstance(one, ast.Constant) and one.value in _FILES for one in first):
            return _TEST
        if name in _JOINS and first:
            own = node.func.value if isinstance(node.func, ast.Attribute) else None
            return self._joined(first[0], own)
        given = self._rows(first[0]) if first else ""
        chained = self._rows(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        return given or chained

    def _joined(self, node: ast.expr, own: ast.expr | None = None) -> str:
        parts = list(node.elts) if isinstance(node, ast.List | ast.Tuple) else [node]
        found = [self._rows(part) for part in [*parts, *([own] if isinstance(own, ast.Name) else [])]]
        if not any(found):
            return ""
        return _TEST if all(rows == _TEST for rows in found[: len(parts)]) and len(parts) > 1 else _BOTH


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_column(node: ast.expr) -> bool:
    """Whether a subscript chooses columns by name: ``["age"]``, ``[["age", "fare"]]``."""
    parts = node.elts if isinstance(node, ast.List) else [node]
    return all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts)


def _strings(node: ast.AST) -> set[str]:
    return {
        one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }

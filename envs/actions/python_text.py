"""What can be said about a program without running it: whether it is Python, and where its strings are."""

from __future__ import annotations

import ast
import re
import threading
import warnings

_FILE = "action_of_an_agent"
# Some versions of CPython count the depth of trees per interpreter (python/cpython#106905): they raise
# SystemError when threads switch within ast.parse.
_PARSER = threading.Lock()
MOST_CHARS = 50_000
"""Longer texts are not parsed: what agents write must not keep the host busy."""
_TOKEN = re.compile(r"""#.*|("{3}|'{3})|"(?:\\.|[^"\\])*(?P<end>"|$)|'(?:\\.|[^'\\])*(?P<close>'|$)""")
_ENDS = {quote: re.compile(rf"(?:\\.|[^\\])*?{quote}") for quote in ('"""', "'''")}

# Python warns of a program's doubtful escapes and comparisons; the agent sees that when the program runs.
warnings.filterwarnings("ignore", module=_FILE)


def parsed(code: str) -> ast.Module | None:
    """Returns the syntax tree of ``code``, or None if it is not Python or too long to tell."""
    if len(code) > MOST_CHARS:
        return None
    try:
        with _PARSER:
            return ast.parse(code, _FILE)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def is_python(code: str) -> bool:
    return parsed(code) is not None


def does_something(code: str) -> bool:
    """Returns whether ``code`` is Python that does more than name or compute values, as quoted output may.

    >>> does_something("x = 1"), does_something("accuracy: 0.93"), does_something("42")
    (True, False, False)
    """
    tree = parsed(code)
    return tree is not None and any(map(_acts, tree.body))


def literals(line: str, quote: str = "") -> tuple[str, list[tuple[int, int]]]:
    """Returns the triple quote that is still open after ``line``, and the spans of its strings and comments.

    ``quote``: the triple quote that was open before it.
    """
    spans: list[tuple[int, int]] = []
    at = 0
    while True:
        if quote:
            ending = _ENDS[quote].match(line, at)
            spans.append((at, len(line) if ending is None else ending.end()))
            if ending is None:
                return quote, spans
            at = ending.end()
        found = _TOKEN.search(line, at)
        if found is None:
            return "", spans
        quote, at = found[1] or "", found.end()
        if not quote and found[0][0] != "#" and not (found["end"] or found["close"]):
            return "", spans  # a string without an end: the line is not Python
        if not quote:
            spans.append(found.span())


def _acts(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None
    if isinstance(statement, ast.Expr):
        return any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))
    return not isinstance(statement, ast.Pass)

"""Did a program hide an error of its own? It is run again, on the same files, with handlers that raise.

``except ImportError`` around an import, and a handler that raises itself, hide nothing. A handler that never
runs hides nothing either: only an error that really happened is held against its program. One of the data
(``ValueError``, ``KeyError``) may have been expected; one of the program itself (``NameError``) was not."""

from __future__ import annotations

import ast

from coaches.audits.trees import shallow

MARK = "coachgym hidden error:"
_OF_PROGRAMS = frozenset(
    ("NameError", "UnboundLocalError", "AttributeError", "TypeError", "IndentationError")
)
_TELL = f"""
import os as _os, sys as _sys
_kind, _error, _trace = _sys.exc_info()
_text = _kind.__name__ + ": " + str(_error)[:120].replace("\\n", " ")
print("{MARK}", _text, "in line", _trace.tb_lineno, flush=True)
_os._exit(0)
"""


def exposed(code: str) -> str | None:
    """Returns the program with handlers that print what they hid and end it; None if it has no handler that
    hides anything."""
    tree, tell = shallow(code), shallow(_TELL)
    if tree is None or tell is None:
        return None
    changed = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and not _only_imports(node):
            for handler in node.handlers:
                if not any(isinstance(one, ast.Raise) for one in ast.walk(handler)):
                    handler.body = tell.body
                    changed = True
    return ast.unparse(ast.fix_missing_locations(tree)) if changed else None


def hidden(printed: str | None) -> str:
    """Returns the error that a program exposed, by the last line that it printed; "" if there is none."""
    return printed.removeprefix(MARK).strip() if printed is not None and printed.startswith(MARK) else ""


def of_program(error: str) -> bool:
    """Returns whether an error is one that no sound program expects of itself."""
    return error.partition(":")[0] in _OF_PROGRAMS


def _only_imports(node: ast.Try) -> bool:
    return all(isinstance(one, ast.Import | ast.ImportFrom) for one in node.body)

"""Syntax trees of what agents write, as far as readers that call themselves can follow them."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from envs.actions.python_text import parsed
from envs.types import Turn

MOST_LEVELS = 150
"""Deeper trees are not read: Python ends a reader with ``RecursionError`` at some 300 levels."""


def shallow(code: str) -> ast.Module | None:
    """Returns the syntax tree of ``code``, or None if it is not Python, too long or nested too deeply."""
    tree = parsed(code)
    return None if tree is None or _levels(tree) > MOST_LEVELS else tree


def unread(turns: Sequence[Turn]) -> dict[str, None]:
    """Returns a line for each program that is Python and nested too deeply, in order."""
    deep = [
        turn for turn in turns if turn.code and (tree := parsed(turn.code)) and _levels(tree) > MOST_LEVELS
    ]
    return {
        f"the program of turn {turn.index + 1}: more than {MOST_LEVELS} levels deep": None for turn in deep
    }


def _levels(tree: ast.Module) -> int:
    """Counts level by level, as a deep tree cannot be descended by calls."""
    count, level = 0, list[ast.AST]([tree])
    while level and count <= MOST_LEVELS:
        count, level = count + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return count

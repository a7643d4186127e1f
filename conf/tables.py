"""Tables for the terminal. Nothing is cut off, however narrow it is, and no text is taken for markup."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from math import inf, isnan
from typing import Any

from rich.box import HEAVY_HEAD, Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDEST = 1000
"""Columns where output does not go to a terminal: rows are as long as they need to be, up to here."""


class PlainTable(Table):
    """A table whose cells are shown as they are written, over several lines where a column is narrow."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Adds a row; see ``rich.table.Table.add_row``."""
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def make_table(
    title: str, columns: Sequence[str], *, text: Collection[str] | None = None, box: Box = HEAVY_HEAD
) -> PlainTable:
    """Returns an empty table. ``text`` names the columns that are aligned left; None: the first column
    alone."""
    table = PlainTable(title=Text(title), title_justify="left", box=box)
    left = columns[:1] if text is None else text
    for name in columns:
        table.add_column(Text(name), justify="left" if name in left else "right", overflow="fold")
    return table


def make_console(*, highlight: bool = True) -> Console:
    """Returns a console as wide as the terminal. In a pipe or a file, where nobody has said how many columns
    there are, each row of a table is one line."""
    return Console(width=None if sys.stdout.isatty() else _WIDEST, highlight=highlight)


def interval(low: float, high: float, form: str, *, least: float = -inf, most: float = inf) -> str:
    """Returns an interval in the format ``form``, clipped to the range of its values, or a dash for NaN.

    >>> interval(9.59, 10.14, ".2f", least=0, most=10)
    '[9.59, 10.00]'
    """
    if isnan(low) or isnan(high):
        return "–"
    return f"[{max(low, least):{form}}, {min(high, most):{form}}]"

"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table


def make_table(title: str, columns: Sequence[str], *, text: Collection[str] | None = None) -> Table:
    """Returns an empty table. ``text`` names the columns that are aligned left; None: the first column
    alone."""
    table = Table(title=title, title_justify="left")
    left = columns[:1] if text is None else text
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right")
    return table

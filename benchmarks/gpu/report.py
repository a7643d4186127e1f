"""The table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.gpu.records import Part
from conf.tables import make_table


def table(parts: Sequence[Part]) -> Table:
    """Returns a line for each part and each of its cases."""
    shown = make_table(
        "Parts", ["part", "case", "status", "s", "figures"], text=["part", "case", "status", "figures"]
    )
    for part in parts:
        shown.add_row(part.name, "", part.status, f"{part.seconds:.1f}", part.reason)
        for case in part.cases:
            figures = ", ".join(
                f"{name} {_value(value)}" for name, value in case.figures.items() if value is not None
            )
            shown.add_row("", case.name, case.status, f"{case.seconds:.1f}", case.reason or figures)
    return shown


def _value(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

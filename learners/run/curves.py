"""``curves.png``: a plot of a run's metrics, read from its folder alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from learners.run import files
from learners.run.folder import RunFolder

PANELS = (
    ("Held-out success (grader)", "eval", "success"),
    ("Held-out fair score (grader)", "eval", "fair"),
    ("Held-out stages delivered", "eval", "delivered"),
    ("Training success (grader)", "train", "success"),
    ("Coach score, 0–10", "train", "score"),
    ("Policy entropy, nats per token", "train", "entropy"),
)
"""Title, phase, and the metric's name up to the slash; what follows the slash labels the line."""


def plot(folder: RunFolder) -> Path:
    """Plots the run's metrics and returns the path of ``curves.png``."""
    rows = list(folder.rows("metrics"))
    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Sequence[Axes] = figure.subplots(2, 3).flat
    for panel, (title, phase, metric) in zip(axes, PANELS, strict=True):
        _plot_panel(panel, title, metric, [row for row in rows if row["phase"] == phase])
    path = folder.path / "curves.png"
    with files.writing(path), files.draft(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
    return path


def _plot_panel(panel: Axes, title: str, metric: str, rows: Sequence[dict[str, Any]]) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("step")
    panel.grid(alpha=0.3)
    for name in _lines(metric, rows):
        points = [(row["step"], row[name]) for row in rows if name in row]
        steps, values = zip(*points, strict=True)
        is_total = name == metric
        label = "all" if is_total else name.removeprefix(f"{metric}/")
        panel.plot(
            steps, values, label=label, marker="o" if len(points) < 12 else None, lw=2.4 if is_total else 1.4
        )
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8)


def _lines(metric: str, rows: Iterable[dict[str, Any]]) -> list[str]:
    """Returns the names under which ``rows`` have the metric: itself, and per task kind or agent."""
    names = (name for row in rows for name in row if name == metric or name.startswith(f"{metric}/"))
    return list(dict.fromkeys(names))

"""Held-out curves of every question's arms, with 95 % bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.study import measures
from benchmarks.study.answers import Results
from benchmarks.study.grid import Question
from benchmarks.study.runs import Result

LABELS = {"success": "held-out success", "fair": "held-out fair score", "gap": "success gap"}
COLUMNS = 3


def plot(path: Path, questions: Sequence[Question], results: Results) -> None:
    """Writes a PNG with a panel for each question, and one more for the gap where kinds are compared."""
    panels = [
        (question, name)
        for question in questions
        for name in ("success", *(["gap"] if question.by_kind else []))
        if any(results.get(arm) for arm in question.arms)
    ]
    rows = max(1, ceil(len(panels) / COLUMNS))
    figure = Figure(figsize=(5 * COLUMNS, 3.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for panel, (question, name) in zip(axes, panels, strict=False):
        panel.set_title(f"({question.letter}) {LABELS[name]}", fontsize=10)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
        if name != "gap":
            panel.set_ylim(0, 1)
        for arm in question.arms:
            if runs := results.get(arm):
                _curve(panel, arm, name, runs)
        panel.legend(fontsize=8)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110, format="png")


def _curve(panel: Axes, arm: str, name: str, runs: Sequence[Result]) -> None:
    points = measures.band([run.curve(name) for run in runs])
    steps = runs[0].steps
    low, high = (np.clip([getattr(one, end) for one in points], -1.0, 1.0) for end in ("low", "high"))
    [line] = panel.plot(steps, [one.value for one in points], marker="o", label=f"{arm} ({len(runs)})")
    if len(runs) > 1:
        panel.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, lw=0)

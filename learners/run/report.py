"""Progress output of a run: a live view on a terminal, plain lines in a log; W&B and spans on request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from conf.tables import make_table
from learners.config import RunConfig
from learners.run.metrics import wilson
from learners.run.trackers.tracing import Traces, tracing
from learners.run.trackers.tracking import Tracker, tracking

log = logging.getLogger(__name__)

MAX_KINDS = 4
"""A line shows success per task kind for at most this many kinds."""


def set_up_logging(console: Console) -> None:
    """Shows messages of our packages from INFO, of libraries from WARNING."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("sandbox", "envs", "coaches", "learners", "benchmarks"):
        logging.getLogger(package).setLevel(logging.INFO)


class Reporter:
    """Reports each row of metrics as it is recorded."""

    def __init__(
        self, steps: int, progress: Progress, trackers: Sequence[Tracker], traces: Traces | None
    ) -> None:
        self._steps = steps
        self._progress = progress
        self._bar = progress.add_task("training", total=steps, facts="")
        self._trackers = trackers
        self._traces = traces

    def episode(self, row: Mapping[str, Any]) -> None:
        """Reports an episode that has been recorded: its row of ``episodes.jsonl`` without short forms."""
        if self._traces is not None:
            self._traces.add(row)

    def row(self, phase: str, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Reports a finished step or evaluation."""
        line = _line(phase, step, self._steps, row, timing)
        log.info(line)
        if phase == "train":
            self._progress.update(self._bar, completed=step, facts=f"success {row['success']:.2f}")
        where = {"phase": phase, "step": step}
        for tracker in self._trackers:
            tracker.log(where | dict(row), where | dict(timing))

    def finish(self) -> None:
        """Reports that the run is finished and its folder complete, with its page."""
        for tracker in self._trackers:
            tracker.finish()


@contextmanager
def reporting(config: RunConfig, folder: Path, console: Console) -> Iterator[Reporter]:
    """Yields a reporter for the duration of a run.

    Raises:
        ConfigError: ``wandb.mode`` is ``online`` and W&B rejects the run, or ``trace.otlp`` cannot be.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    with (
        tracking(config, folder) as trackers,
        tracing(config, folder, console) as traces,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        yield Reporter(config.steps, progress, trackers, traces)


def before_after(before: Mapping[str, float], after: Mapping[str, float], *, about: str = "") -> Table:
    """Returns held-out results before and after training, and the change."""
    return held_out({"before": before, "after": after}, change=True, about=about)


def held_out(columns: Mapping[str, Mapping[str, float]], *, change: bool = False, about: str = "") -> Table:
    """Returns held-out results side by side, per task kind and agent, with 95 % Wilson intervals.

    ``columns``: column title -> row of metrics. ``change``: adds a column with the last minus the first.
    ``about``: the algorithm and the models, for the title.
    """
    titles = ["", *columns, *(["change"] if change else [])]
    judged = "Held-out tasks, judged by the grader"
    table = make_table(f"{judged}: {about}" if about else judged, titles)
    rows = list(columns.values())
    for suffix in ["", *(f"/{kind}" for kind in sorted(_suffixes("success/", rows)))]:
        where = suffix.lstrip("/") or "all tasks"
        _add_row(table, f"{where}: success", f"success{suffix}", f"episodes{suffix}", rows, change)
        _add_row(table, f"{where}: fair", f"fair{suffix}", None, rows, change)
        table.add_section()
    for agent in _suffixes("delivered/", rows):
        _add_row(table, f"{agent}: delivered", f"delivered/{agent}", "episodes", rows, change)
        _add_row(table, f"{agent}: turns", f"turns/{agent}", None, rows, change)
    return table


def _suffixes(prefix: str, rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Returns what follows ``prefix`` in the rows' metric names, without repeats."""
    names = (name.removeprefix(prefix) for row in rows for name in row if name.startswith(prefix))
    return list(dict.fromkeys(names))


def _add_row(
    table: Table,
    label: str,
    name: str,
    trials: str | None,
    rows: Sequence[Mapping[str, float]],
    change: bool,
) -> None:
    def cell(row: Mapping[str, float]) -> str:
        if name not in row:
            return "–"
        if trials is None:
            return f"{row[name]:.3f}"
        count = round(row[trials])
        low, high = wilson(round(row[name] * count), count)
        return f"{row[name]:.3f} [{low:.2f}, {high:.2f}]"

    in_both = name in rows[0] and name in rows[-1]
    changes = [f"{rows[-1][name] - rows[0][name]:+.3f}" if in_both else "–"] if change else []
    table.add_row(label, *(cell(row) for row in rows), *changes)


def _line(phase: str, step: int, steps: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
    where = f"{step}/{steps}" if steps else f"{step}"
    facts = [f"{'step' if phase == 'train' else 'evaluation after step'} {where}"]
    kinds = [f"{name.split('/')[1]} {row[name]:.2f}" for name in row if name.startswith("success/")]
    facts += [
        f"success {row['success']:.2f}" + (f" ({', '.join(kinds)})" if 1 < len(kinds) <= MAX_KINDS else "")
    ]
    facts += [f"fair {row['fair']:.3f}"]
    scores = [f"{name.split('/')[1]} {row[name]:.1f}" for name in row if name.startswith("score/")]
    facts += [f"coach: {', '.join(scores)}"] if scores else []
    facts += [*_skipped(row), *_without_signal(row)]
    lost: Sequence[str] = [
        f"{name} {row[name]:.0f}" for name in ("lost", "recovered", "masked") if row.get(name)
    ]
    facts += [*lost, f"{sum(value for name, value in timing.items() if name.endswith('_s')):.1f} s"]
    return " | ".join(facts)


def _skipped(row: Mapping[str, float]) -> list[str]:
    """Says how many of a step's actions were trained on, unless all of them were."""

    def total(name: str) -> float:
        return sum(value for key, value in row.items() if key.startswith(f"{name}/"))

    if row.get("trained", 1.0) == 1.0:
        return []
    rows, cut = total("rows"), total("truncated")
    of = f"trained on {rows:.0f} of {rows + total('rows_skipped'):.0f} actions"
    return [f"{of} ({cut:.0f} cut off)" if cut else of]


def _without_signal(row: Mapping[str, float]) -> list[str]:
    """Names the policies none of whose rows had an advantage, as where all scores of a step are equal."""
    counts = {name.removeprefix("rows/"): value for name, value in row.items() if name.startswith("rows/")}
    names = [name for name, rows in counts.items() if rows and row.get(f"rows_no_signal/{name}") == rows]
    return [f"no signal: {', '.join(names)}"] if names else []

"""What a person sees of a run: a live view on a terminal, plain lines in a log, W&B where asked."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
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

from conf import ConfigError
from learners.run.metrics import wilson

log = logging.getLogger(__name__)

KINDS = 4
"""Up to so many kinds of task, a line shows the success of each."""


def set_up_logging(console: Console) -> None:
    """Our own lines from INFO on, libraries' from WARNING on."""
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
    """Shows each row of metrics as it comes."""

    def __init__(self, steps: int, progress: Progress, wandb_run: Any) -> None:
        self._steps = steps
        self._progress = progress
        self._bar = progress.add_task("training", total=steps, facts="")
        self._wandb = wandb_run

    def row(self, phase: str, step: int, row: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """One finished step or evaluation."""
        line = _line(phase, step, self._steps, row, timing)
        log.info(line)
        if phase == "train":
            self._progress.update(self._bar, completed=step, facts=f"success {row['success']:.2f}")
        if self._wandb is not None:
            self._wandb.log({f"{phase}/{name}": value for name, value in row.items()} | {"step": step})


@contextmanager
def reporting(config: DictConfig, folder: Path, console: Console) -> Iterator[Reporter]:
    """A reporter for the length of a run.

    Raises:
        ConfigError: ``wandb.mode`` is ``online`` and W&B refuses.
    """
    run = _wandb_run(config, folder)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            yield Reporter(config.steps, progress, run)
    finally:
        if run is not None:
            run.finish()


def before_after(before: Mapping[str, float], after: Mapping[str, float]) -> Table:
    """Held-out results before and after training, as ``held_out``, and what has changed."""
    return held_out({"before": before, "after": after}, change=True)


def held_out(columns: Mapping[str, Mapping[str, float]], *, change: bool = False) -> Table:
    """Held-out results side by side, by task kind and by agent, with 95 % Wilson intervals.

    ``columns``: rows of metrics by what stands above them. ``change``: the last less the first, in a column.
    """
    table = Table(title="Held-out tasks, judged by the grader", title_justify="left")
    for name in ("", *columns, *(["change"] if change else [])):
        table.add_column(name, justify="left" if not name else "right")
    rows = list(columns.values())
    for suffix in ["", *(f"/{kind}" for kind in sorted(_after("success/", rows)))]:
        where = suffix.lstrip("/") or "all tasks"
        _compare(table, f"{where}: success", f"success{suffix}", f"episodes{suffix}", rows, change)
        _compare(table, f"{where}: fair", f"fair{suffix}", None, rows, change)
        table.add_section()
    for agent in _after("delivered/", rows):
        _compare(table, f"{agent}: delivered", f"delivered/{agent}", "episodes", rows, change)
        _compare(table, f"{agent}: turns", f"turns/{agent}", None, rows, change)
    return table


def _after(prefix: str, rows: Sequence[Mapping[str, float]]) -> list[str]:
    """What follows ``prefix`` in the names of the rows' metrics, each once."""
    names = (name.removeprefix(prefix) for row in rows for name in row if name.startswith(prefix))
    return list(dict.fromkeys(names))


def _compare(
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

    both = name in rows[0] and name in rows[-1]
    changes = [f"{rows[-1][name] - rows[0][name]:+.3f}" if both else "–"] if change else []
    table.add_row(label, *(cell(row) for row in rows), *changes)


def _line(phase: str, step: int, steps: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
    where = f"{step}/{steps}" if steps else f"{step}"
    facts = [f"{'step' if phase == 'train' else 'evaluation after step'} {where}"]
    kinds = [f"{name.split('/')[1]} {row[name]:.2f}" for name in row if name.startswith("success/")]
    facts += [f"success {row['success']:.2f}" + (f" ({', '.join(kinds)})" if 1 < len(kinds) <= KINDS else "")]
    facts += [f"fair {row['fair']:.3f}"]
    scores = [f"{name.split('/')[1]} {row[name]:.1f}" for name in row if name.startswith("score/")]
    facts += [f"coach: {', '.join(scores)}"] if scores else []
    lost: Sequence[str] = [
        f"{name} {row[name]:.0f}" for name in ("lost", "recovered", "masked") if row.get(name)
    ]
    facts += [*lost, f"{sum(value for name, value in timing.items() if name.endswith('_s')):.1f} s"]
    return " | ".join(facts)


def _wandb_run(config: DictConfig, folder: Path) -> Any:
    """A W&B run, or None when disabled. Resuming a run folder resumes its W&B run."""
    if config.wandb.mode == "disabled":
        return None
    if config.wandb.mode not in ("offline", "online"):
        raise ConfigError(f"wandb.mode is disabled, offline or online, not {config.wandb.mode!r}")
    import wandb  # takes a second; most runs do without

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        return wandb.init(
            project=config.wandb.project,
            mode=config.wandb.mode,
            dir=folder,
            id=folder.name,
            name=folder.name,
            resume="allow",
            config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
        )
    except wandb.Error as error:
        raise ConfigError(f"W&B refuses: {str(error).splitlines()[0]}") from None

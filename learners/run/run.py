"""A whole run, from a configuration to a run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from coaches import monitor
from conf import ConfigError, stopping
from conf.tables import make_console
from learners.config import RunConfig
from learners.errors import LostError
from learners.report import reading
from learners.report.page import page
from learners.run import checkpoint, files
from learners.run.build import build, check, metadata
from learners.run.curves import plot
from learners.run.folder import PAGE, RunFolder, open_folder
from learners.run.report import before_after, held_out, reporting, set_up_logging
from learners.run.trackers import tracing
from learners.run.trainer import Trainer
from learners.runtimes.base import Parts, closed_on_error
from learners.runtimes.naming import title

log = logging.getLogger(__name__)


def train(config: DictConfig) -> Path:
    """Trains or resumes the run that ``config`` describes, evaluates it, and returns the run folder.

    Raises:
        ConfigError: the configuration is invalid; nothing has been loaded or written then.
        SandboxError: the sandbox is not available.
        TrainingError: the run cannot continue.
    """
    console = make_console()
    set_up_logging(console)
    run_config = RunConfig.read(config)
    check(run_config)
    tracing.check(run_config)
    with open_folder(run_config) as run:
        try:
            restarts = 0
            while not _finished(run_config, run, console, restarts):
                restarts += 1
        except ConfigError:
            raise
        except BaseException as error:
            _note(error, run)
            raise
    return run.path


def _note(error: BaseException, run: RunFolder) -> None:
    """Adds to ``error`` how the run goes on, if something of it is there to go on with."""
    if steps := checkpoint.steps(run.path):
        changes = {"run_dir": str(run.path), "resume": "true"}
        words = " ".join(f"{key}={value}" for key, value in changes.items())
        again = stopping.command_line(changes, module="learners.") or words
        error.add_note(f"to go on after step {steps[-1]}: {again}")


def _finished(config: RunConfig, run: RunFolder, console: Console, restarts: int) -> bool:
    """Builds the parts and trains. Returns False if a process was lost and a restart is left.

    Raises:
        LostError: a process was lost, and no restart is left.
    """
    with _building(config, run) as parts:
        described = metadata(parts, config)
        run.describe(described, step=max(checkpoint.steps(run.path), default=None))
        console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
        if config.team or config.learn is not None:
            line = _team_line(described["team"], training=config.steps > 0)
            console.print(line, highlight=False, soft_wrap=True)
        _print_warning(parts, console)
        try:
            _train(parts, config, run, console, title(config, _models(described["team"])))
        except LostError as error:
            if restarts >= parts.runtime.restarts:
                raise
            log.warning("%s; restarting all processes from the newest checkpoint", error)
            return False
        _print_warning(parts, console)
    return True


def _team_line(team: Mapping[str, Mapping[str, Any]], *, training: bool) -> str:
    """Says who plays whom, where that differs from agent to agent, and who learns, where anybody does."""
    learns = {agent: " (learns)" if one["learns"] else " (does not learn)" for agent, one in team.items()}
    return "team: " + ", ".join(
        f"{agent}: {one['model']}{learns[agent] if training else ''}" for agent, one in team.items()
    )


def _models(team: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [str(one["model"]) for one in team.values()]


def _train(parts: Parts, config: RunConfig, run: RunFolder, console: Console, about: str) -> None:
    """``about``: what tables say of the run."""
    with reporting(config, run.path, console) as reporter:
        trainer = Trainer(parts, config, run, reporter)
        trainer.run()
        bias = trainer.monitor.summary()
        run.report("bias", bias)
        written = _write_report(run) if run.sizes().get("episodes.jsonl") else None
        if written is not None:
            reporter.finish()
    evaluations = [row for row in run.rows("metrics") if row["phase"] == "eval"]
    if len(evaluations) == 1:
        console.print(held_out({"result": evaluations[0]}, about=about))
    elif evaluations:
        console.print(before_after(evaluations[0], evaluations[-1], about=about))
    if bias["means"]:
        monitor.show(bias, console)
    console.print(f"curves: {plot(run)}", highlight=False, soft_wrap=True)
    if written is not None:
        console.print(f"report: {written}", highlight=False, soft_wrap=True)


def _write_report(run: RunFolder) -> Path:
    """Writes the page on which people look at the run, and returns its path."""
    path = run.path / PAGE
    with files.writing(path), files.draft(path) as draft:
        draft.write_text(page([reading.read(run.path)]), encoding="utf-8")
    return path


def _print_warning(parts: Parts, console: Console) -> None:
    """Prints what the sandbox does not isolate: at the start, and again at the end, where it is still in
    view."""
    if line := parts.rollout_worker.isolation().warning:
        console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def _building(config: RunConfig, run: RunFolder) -> Iterator[Parts]:
    """Yields the parts of a run and closes them at its end. Withdraws the folder if they cannot be built."""
    try:
        parts = build(config)
    except BaseException:
        run.withdraw()
        raise
    with closed_on_error() as opened:
        opened.callback(parts.close)
        yield parts
    parts.close()

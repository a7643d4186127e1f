"""One whole run, from a configuration to a run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

import conf
from coaches import monitor
from conf import ConfigError
from learners.base import LostError
from learners.run.build import Parts, build, metadata
from learners.run.curves import draw
from learners.run.folder import RunFolder, open_folder
from learners.run.report import before_after, held_out, reporting, set_up_logging
from learners.run.trainer import Trainer

log = logging.getLogger(__name__)


def train(config: DictConfig) -> Path:
    """Trains, or goes on training, as ``config`` says; evaluates; returns the run folder.

    Raises:
        ConfigError: what the configuration asks for cannot be.
        SandboxError: no sandbox can be had.
        TrainingError: the run cannot go on.
    """
    console = Console()
    set_up_logging(console)
    config.coach = conf.filled("coach", config.coach)  # config.yaml shall hold the coaches within it too
    with open_folder(config) as run:
        restarts = 0
        while not _finished(config, run, console, restarts):
            restarts += 1
    return run.path


def _finished(config: DictConfig, run: RunFolder, console: Console, restarts: int) -> bool:
    """Whether the run came to its end; not, when a process was lost and may be replaced once more.

    Raises:
        LostError: one process too many was lost.
    """
    with _building(config, run) as parts:
        run.describe(metadata(parts))
        console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
        _warn(parts, console)
        try:
            _train(parts, config, run, console)
        except LostError as error:
            if restarts >= parts.runtime.restarts:
                raise
            log.warning("%s; all processes start anew, from the newest checkpoint", error)
            return False
        _warn(parts, console)
    return True


def _train(parts: Parts, config: DictConfig, run: RunFolder, console: Console) -> None:
    with reporting(config, run.path, console) as reporter:
        trainer = Trainer(parts, config, run, reporter)
        trainer.run()
    evaluations = [row for row in run.rows("metrics") if row["phase"] == "eval"]
    if len(evaluations) == 1:
        console.print(held_out({"result": evaluations[0]}))
    elif evaluations:
        console.print(before_after(evaluations[0], evaluations[-1]))
    bias = trainer.monitor.summary()
    run.report("bias", bias)
    if bias["means"]:
        monitor.show(bias, console)
    console.print(f"curves: {draw(run)}", highlight=False, soft_wrap=True)


def _warn(parts: Parts, console: Console) -> None:
    """Says what the run's sandbox does not hold: at its start, and again when that has scrolled away."""
    if line := parts.player.isolation().warning:
        console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def _building(config: DictConfig, run: RunFolder) -> Iterator[Parts]:
    """The parts of a run, closed at its end. A run that cannot be built leaves its folder free again."""
    try:
        parts = build(config)
    except ConfigError:
        run.withdraw()
        raise
    try:
        yield parts
    finally:
        parts.close()

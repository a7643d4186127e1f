"""One whole run, from a configuration to a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

import conf
from coaches import monitor
from conf import ConfigError
from learners.build import Parts, build, metadata
from learners.curves import draw
from learners.folder import RunFolder, open_folder
from learners.log import before_after, reporting, set_up_logging
from learners.trainer import Trainer
from sandbox.base import warning


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
    with open_folder(config) as run, _building(config, run) as parts:
        run.describe(metadata(parts))
        console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
        _warn(parts, console)
        with reporting(config, run.path, console) as reporter:
            trainer = Trainer(parts, config, run, reporter)
            trainer.run()
        evaluations = [row for row in run.rows("metrics") if row["phase"] == "eval"]
        if evaluations:
            console.print(before_after(evaluations[0], evaluations[-1]))
        bias = trainer.monitor.summary()
        run.report("bias", bias)
        monitor.show(bias, console)
        console.print(f"curves: {draw(run)}", highlight=False, soft_wrap=True)
        _warn(parts, console)
    return run.path


def _warn(parts: Parts, console: Console) -> None:
    """Says what the run's sandbox does not hold: at its start, and again when that has scrolled away."""
    if line := warning(parts.backend):
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

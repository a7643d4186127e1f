"""The command line: Hydra composes the configuration, and a run follows.

python -m learners.reinforcepp env=dsbench seed=1
python -m learners.train algorithm=my_package.my_algorithm --config-dir my_conf
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from conf import ConfigError
from learners.build import Parts, build, metadata
from learners.curves import draw
from learners.folder import RunFolder, open_folder
from learners.log import before_after, reporting, set_up_logging
from learners.trainer import Trainer, TrainingError


def train(config: DictConfig) -> Path:
    """One whole run, or the rest of one: trains, evaluates, and returns the run folder.

    Raises:
        ConfigError: what the configuration asks for cannot be.
        TrainingError: the run cannot go on.
    """
    console = Console()
    set_up_logging(console)
    with open_folder(config) as run, building(config, run) as parts:
        run.describe(metadata(parts))
        console.print(f"run folder: {run.path}", highlight=False, soft_wrap=True)
        with reporting(config, run.path, console) as reporter:
            Trainer(parts, config, run, reporter).run()
        evaluations = [row for row in run.rows("metrics") if row["phase"] == "eval"]
        if evaluations:
            console.print(before_after(evaluations[0], evaluations[-1]))
        console.print(f"curves: {draw(run)}", highlight=False, soft_wrap=True)
    return run.path


@contextmanager
def building(config: DictConfig, run: RunFolder) -> Iterator[Parts]:
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


def main(algorithm: str | None = None) -> None:
    """Runs the command line. ``algorithm`` is the default where the arguments name none.

    What the user can mend ends as one line on stderr and exit code 2; with ``COACHGYM_TRACEBACK=1``, as a
    traceback.
    """
    if algorithm is not None and not any(word.startswith("algorithm=") for word in sys.argv[1:]):
        sys.argv.append(f"algorithm={algorithm}")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print over several lines
    with _one_line_errors():
        _command()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _command(config: DictConfig) -> None:
    with _one_line_errors():  # here too: Hydra writes a line of its own about an error that leaves the job
        train(config)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ConfigError, TrainingError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("COACHGYM_TRACEBACK") == "1":
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _one_line(error: BaseException) -> str:
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type"))]
    return "; ".join(kept) or type(error).__name__


if __name__ == "__main__":
    main()

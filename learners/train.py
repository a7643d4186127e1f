"""The command line: Hydra composes the configuration, and a run follows.

``python -m learners.reinforcepp env=dsbench seed=1``, or, for an algorithm from elsewhere,
``python -m learners.train --config-dir my_conf algorithm=mine``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from coaches.base import BudgetError
from conf import ConfigError
from learners.base import TrainingError
from sandbox.base import SandboxError

Command = Callable[[DictConfig], object]


def main(algorithm: str | None = None, command: Command | None = None) -> None:
    """Runs the command line: composes a configuration, and does ``command`` with it; None: trains.

    ``algorithm`` is the default where the arguments name none.

    What the user can mend ends as one line on stderr and exit code 2, a coach's spent budget as one and exit
    code 3; with ``COACHGYM_TRACEBACK=1``, as a traceback.
    """
    if algorithm is not None:
        sys.argv = with_default(sys.argv, "algorithm", algorithm)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print over several lines
    with one_line_errors():
        _composing(command or _train)()


def with_default(arguments: list[str], key: str, value: str) -> list[str]:
    """``arguments`` with ``key=value`` where they do not set ``key``, beside the other settings: Hydra takes
    settings from one place only, before or after its options."""
    settings = [i for i, word in enumerate(arguments) if "=" in word and not word.startswith("-")]
    if any(arguments[i].startswith(f"{key}=") for i in settings):
        return arguments
    place = settings[-1] + 1 if settings else len(arguments)
    return [*arguments[:place], f"{key}={value}", *arguments[place:]]


def _composing(command: Command) -> Callable[[], None]:
    @hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
    def composed(config: DictConfig) -> None:
        with one_line_errors():  # here too: Hydra writes a line of its own about an error that leaves the job
            command(config)

    run: Callable[[], None] = composed
    return run


def _train(config: DictConfig) -> None:
    from learners.run.run import train

    train(config)


def compose(settings: Sequence[str]) -> DictConfig:
    """The configuration that ``main`` would get, for another command that takes the same settings.

    Raises:
        HydraException: a setting is none.
    """
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", list(settings))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the process with one line on stderr where the user can mend what went wrong; see ``main``."""
    mendable = (
        ConfigError,
        SandboxError,
        TrainingError,
        BudgetError,
        HydraException,
        OmegaConfBaseException,
    )
    try:
        yield
    except mendable as error:
        if os.environ.get("COACHGYM_TRACEBACK") == "1":
            raise
        if isinstance(error, BudgetError):
            print(f"stopped: {_one_line(error)}; resume=true goes on from here", file=sys.stderr)
            sys.exit(3)
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type"))]
    return "; ".join(kept) or type(error).__name__


if __name__ == "__main__":
    main()

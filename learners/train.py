"""The training command: Hydra composes the configuration, and a run follows.

``python -m learners.reinforcepp env=dsbench seed=1``, or, for an algorithm from elsewhere,
``python -m learners.train --config-dir my_conf algorithm=mine``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from coaches.base import BudgetError
from conf import commands
from learners.config import RunConfig
from learners.errors import TrainingError
from sandbox.base import SandboxError

Command = Callable[[DictConfig], object]


def main(algorithm: str | None = None, command: Command | None = None) -> None:
    """Composes the configuration of the command line and passes it to ``command``; None trains.

    ``algorithm`` is the default if the arguments name none. Errors: see ``run_errors``.
    """
    if algorithm is not None:
        sys.argv = with_default(sys.argv, "algorithm", algorithm)
    commands.main(command or _train, run_errors)


def with_default(arguments: list[str], key: str, value: str) -> list[str]:
    """Returns ``arguments`` with ``key=value`` added unless they set ``key``.

    It goes beside the other settings, because Hydra accepts settings before or after its options, not both.
    """
    settings = [i for i, word in enumerate(arguments) if "=" in word and not word.startswith("-")]
    if any(arguments[i].startswith(f"{key}=") for i in settings):
        return arguments
    place = settings[-1] + 1 if settings else len(arguments)
    return [*arguments[:place], f"{key}={value}", *arguments[place:]]


@contextmanager
def run_errors() -> Iterator[None]:
    """Ends the process with one line on stderr: with exit code 2 for what the user can fix, and 3 if the
    coach's budget is used up. With ``COACHGYM_TRACEBACK=1`` in the environment the error is raised instead.
    """
    with commands.one_line_errors(SandboxError, TrainingError):
        try:
            yield
        except BudgetError as error:
            commands.end(error, before="stopped", after="; resume=true continues from here", code=3)


def _train(config: DictConfig) -> None:
    RunConfig.read(config)  # rejects mistakes before torch is imported, which takes seconds
    from learners.run.run import train

    train(config)


if __name__ == "__main__":
    main()

"""The training command: Hydra composes the configuration, and a run follows.

``python -m learners.reinforcepp env=dsbench seed=1``, or, for an algorithm from elsewhere,
``python -m learners.train --config-dir my_conf algorithm=mine``.
"""

from __future__ import annotations

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

    ``algorithm``: the command's own. An experiment must not choose another one; ``algorithm=…`` on the
    command line may. Errors: see ``run_errors``.
    """
    named = {} if algorithm is None else {"algorithm": algorithm}
    commands.main(command or _train, run_errors, named)


@contextmanager
def run_errors(before: str = "") -> Iterator[None]:
    """Ends the process with one line on stderr: with exit code 2 for what the user can fix, and 3 if the
    coach's budget is used up. ``before`` begins the line. Otherwise as ``commands.one_line_errors``.
    """
    with commands.one_line_errors(SandboxError, TrainingError, before=before):
        try:
            yield
        except BudgetError as error:
            commands.end(error, before=f"{before}stopped", default="resume=true continues from here", code=3)


def _train(config: DictConfig) -> None:
    from learners.run.build import check

    check(RunConfig.read(config))  # rejects most mistakes before torch is imported, which takes seconds
    from learners.run.run import train

    train(config)


if __name__ == "__main__":
    main()

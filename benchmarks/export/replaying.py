"""Where the episodes of a run are replayed: in its own environment and sandbox, unless the command line names
others."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

from coaches.replay.stages import Stages
from conf import ConfigError, commands
from learners.report.reading import Run
from learners.run.folder import read_config


def stages_of(given: argparse.Namespace) -> Callable[[Run], Stages]:
    """Returns what gives the stages of a run that was named on the command line.

    It raises ``ConfigError`` for a file of episodes without ``env=<name>``.
    """
    words = [word for word in given.overrides if commands.is_override(word)]
    named = commands.compose_parts(words, {"env": None, "sandbox": None}, config_dir=given.config_dir)

    @cache
    def of_folder(folder: Path | None) -> Stages:
        config = named if folder is None else read_config(folder)
        if "env" not in named and folder is None:
            raise ConfigError(
                "--what counterfactuals replays episodes: say in which environment by env=<name>"
            )
        env = named.env if "env" in named else config.env
        sandbox = named.sandbox if "sandbox" in named else config.get("sandbox", {"name": "auto"})
        return Stages([env], sandbox)

    return lambda run: of_folder(run.path.parent if run.config else None)

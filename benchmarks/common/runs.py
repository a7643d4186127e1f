"""Runs on a command line: folders, files of recorded episodes, and the environment whose roles these lack."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from pathlib import Path

import conf
from conf import ConfigError, commands
from learners.report import reading
from learners.report.reading import Run


def add_runs(parser: ArgumentParser) -> None:
    """Adds the arguments that ``read_runs`` takes."""
    commands.add_overrides(
        parser, "run folders, files of recorded episodes, and env=<name> for lines without roles"
    )


def read_runs(given: argparse.Namespace, *others: str) -> tuple[list[Path], list[Run]]:
    """Returns the paths on the command line and what was read of them. ``others`` are groups that may be
    named beside ``env``.

    Raises:
        ConfigError: there is no path, one is not a run, or a setting is wrong.
    """
    words = [word for word in given.overrides if commands.is_override(word)]
    paths = [Path(word) for word in given.overrides if not commands.is_override(word)]
    if not paths:
        raise ConfigError("name a run folder, or a file of recorded episodes")
    config = commands.compose_parts(words, dict.fromkeys(("env", *others)), config_dir=given.config_dir)
    roles = conf.build("envs", config.env).roles if "env" in config else None
    return paths, [reading.read(path, roles=roles) for path in paths]

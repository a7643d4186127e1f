"""Options of command lines: a mistake is one line on stderr and exit code 2, like every user error."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any, NoReturn

from conf.errors import ConfigError
from conf.ranges import LARGEST


class Parser(ArgumentParser):
    """Prints ``description`` as it is written, and mistakes without the usage."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, formatter_class=RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def add_out(parser: ArgumentParser, **options: Any) -> None:
    """Adds ``--out``, with ``options`` of ``add_argument``, and ``--overwrite`` (``require_new``)."""
    parser.add_argument("--out", type=Path, **options)
    add_overwrite(parser)


def add_overwrite(parser: ArgumentParser) -> None:
    """Adds ``--overwrite`` alone, for a command whose result has a place of its own."""
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")


def require_new(overwrite: bool, *paths: Path, option: str = "--out") -> None:
    """Raises ``ConfigError`` if one of ``paths`` is there already and ``overwrite`` is false, or cannot be
    written. To be called before the work begins that the result costs. ``option`` names their place.

    A folder that is missing is no mistake: whoever writes the result makes it.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise ConfigError(
                f"{path} exists: name another place with {option}, or replace it with --overwrite"
            )
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise ConfigError(f"{path} cannot be written: {above} is not a folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise ConfigError(f"{path} cannot be written: the folder {above} may not be changed")


def require_apart(written: Mapping[str, Path | None], read: Iterable[Path]) -> None:
    """Raises ``ConfigError`` if one of the files ``written``, by option, is one that is ``read``, or the same
    as an earlier one."""
    taken = {path.resolve(): "the file that is read" for path in read}
    for option, path in written.items():
        if path is None:
            continue
        if what := taken.get(path.resolve()):
            raise ConfigError(f"{option} is {what}: {path}")
        taken[path.resolve()] = f"the file of {option}"


def integer(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Returns a ``type`` of options: an integer of at least ``least`` and at most ``most``."""

    def convert(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            raise ArgumentTypeError(f"must be an integer, not {word!r}") from None
        if value < least:
            raise ArgumentTypeError(f"must be at least {least}, not {value}")
        if value > most:
            raise ArgumentTypeError(f"must be at most {most}, not {value}")
        return value

    return convert


def number(least: float, most: float = inf) -> Callable[[str], float]:
    """Returns a ``type`` of options: a finite number of at least ``least`` and at most ``most``."""

    def convert(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            raise ArgumentTypeError(f"must be a number, not {word!r}") from None
        if not isfinite(value):
            raise ArgumentTypeError(f"must be a finite number, not {word}")
        if value < least:
            raise ArgumentTypeError(f"must be at least {least:g}, not {word}")
        if value > most:
            raise ArgumentTypeError(f"must be at most {most:g}, not {word}")
        return value

    return convert

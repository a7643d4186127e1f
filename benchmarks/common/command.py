"""What every benchmark command does alike: parse its options and write a JSON report."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from conf import ConfigError
from conf.arguments import Parser
from conf.text import finite


def make_parser(command: str, description: str | None) -> Parser:
    """Returns a parser for ``python -m benchmarks.<command>``."""
    return Parser(f"python -m benchmarks.{command}", description)


def write_json(path: Path, report: Any) -> None:
    """Writes ``report`` as ``write_text`` does. Floats that are not finite become ``null``, as in JSON.

    Raises:
        ConfigError: it cannot be written; a file that was there is as it was.
    """
    write_text(path, json.dumps(finite(report), indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a result as ``write_lines`` does."""
    write_lines(path, [text])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a result whole, creating missing folders. ``lines`` end in line breaks, and may raise anything.

    Raises:
        ConfigError: it cannot be written; a file that was there is as it was.
    """
    draft = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.writelines(lines)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def print_path(console: Console, path: Path) -> None:
    """Prints where a result was written, on one line."""
    console.print(f"written: {path}", soft_wrap=True, highlight=False)

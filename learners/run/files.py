"""Files that are whole or as they were before, also where the disk is full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from learners.errors import TrainingError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises what fails within the block as a ``TrainingError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """Yields the path of a draft that takes the place of ``path`` once it is complete; else it is removed."""
    made = path.with_name(f".{path.name}.tmp")
    try:
        yield made
        sync(made)
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise


def append(path: Path, line: str) -> None:
    """Appends ``line`` and flushes it to the operating system; what fails leaves the file as it was."""
    before = path.stat().st_size if path.exists() else None
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError:
        if before is not None:
            os.truncate(path, before)
        else:
            path.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Waits until ``path`` is on disk, so that a rename cannot become durable before the data."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

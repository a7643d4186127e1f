"""Limits of what sandboxes hold and agents see. Do a task's files fit? Asked before anything is played."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from conf import ConfigError
from envs.base import Scenario
from envs.types import Split, Task
from sandbox.base import Backend, LimitChanges, Limits

_MB = 1 << 20
_OUTPUT_CHARS = 4000
_SPLITS: tuple[Split, ...] = ("train", "heldout")


def sandbox_limits(scenario: Scenario, backend: Backend) -> Limits:
    """Returns the limits of the sandboxes that ``backend`` opens for ``scenario``."""
    changes: LimitChanges = getattr(scenario, "limits", LimitChanges())
    return changes.apply(backend.limits)


def check_scenario(scenario: Scenario, backend: Backend) -> None:
    """Raises ``ConfigError`` if the files of a task do not fit into the backend's sandboxes."""
    limits = sandbox_limits(scenario, backend)
    for split in _SPLITS:
        check_sizes(scenario.tasks(split), limits)


def check_sizes(tasks: Iterable[Task], limits: Limits) -> None:
    """Raises ``ConfigError``, one line with the file, its size and the setting, if a file is too large."""
    for task in tasks:
        total = 0
        for name, source in task.files.items():
            size = _size(task, source)
            total += size
            if size > limits.file_mb * _MB:
                where = name if isinstance(source, bytes) else source
                raise ConfigError(
                    f"task {task.id}: {where} has {_mb(size)} MB, but a sandbox takes files of at most "
                    f"{limits.file_mb} MB: set env.limits.file_mb={math.ceil(size / _MB)} or more, and "
                    f"disk_mb and memory_mb to match"
                )
        if total > limits.disk_mb * _MB:
            raise ConfigError(
                f"task {task.id}: its files {', '.join(task.files)} have {_mb(total)} MB together, but the "
                f"disk of a sandbox has {limits.disk_mb} MB: set env.limits.disk_mb to more than "
                f"{math.ceil(total / _MB)}, because agents write files too"
            )


def _mb(size: int) -> str:
    return f"{size / _MB:.1f}"


def _size(task: Task, source: Path | bytes) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size
    except OSError as error:
        raise ConfigError(f"task {task.id}: {source}: cannot be read: {error.strerror}") from None


def shown_chars(scenario: Scenario, given: int | None) -> int:
    """Returns how many characters of a program's output agents see: ``given``, or what the scenario says.

    Raises:
        ConfigError: it is negative.
    """
    chars = getattr(scenario, "output_chars", _OUTPUT_CHARS) if given is None else given
    if chars < 0:
        raise ConfigError(f"output_chars must be at least 0; got {chars}")
    return int(chars)

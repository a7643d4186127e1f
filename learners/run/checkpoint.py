"""Checkpoints, from which a stopped run resumes. A checkpoint is a folder that is either complete or absent:
it is written under another name, synced to disk and renamed. One that was damaged later is never used.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf import ConfigError
from conf.errors import reason
from learners.policy import Policy
from learners.run import files
from learners.run.folder import RunFolder

log = logging.getLogger(__name__)

STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after ``step`` steps."""

    step: int
    sizes: Mapping[str, int]
    """Length of each jsonl file, in bytes."""
    coach: Mapping[str, Any]
    """The coach's learned state (``coaches.judging.learning``)."""
    monitor: Mapping[str, Any]
    """The bias monitor's state."""
    path: Path


@dataclass(frozen=True)
class Progress:
    """Where a run is, besides its policies; see ``Checkpoint``."""

    sizes: Mapping[str, int]
    coach: Mapping[str, Any]
    monitor: Mapping[str, Any]


def save(
    folder: RunFolder, step: int, policies: Mapping[str, Policy], progress: Progress, *, keep: int
) -> None:
    """Writes ``checkpoints/step-<step>`` and deletes all but the newest ``keep``.

    Raises:
        TrainingError: it cannot be written; nothing is left of it, and those before it are whole.
    """
    root = folder.path / "checkpoints"
    final = root / f"step-{step:06d}"
    for left in root.glob(".step-*.tmp"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    draft = root / f".{final.name}.tmp"
    try:
        with files.writing(final):
            draft.mkdir(parents=True)
            _write(draft, step, policies, progress)
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)
            files.sync(root)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for old in _paths(folder.path)[:-keep]:
        shutil.rmtree(old)


def _write(draft: Path, step: int, policies: Mapping[str, Policy], progress: Progress) -> None:
    for agent, policy in policies.items():
        policy.save(draft / f"{agent}.pt")
    sums = {path.name: _checksum(path) for path in sorted(draft.iterdir())}
    state = {"step": step, "files": sums, **vars(progress)}
    (draft / STATE).write_text(json.dumps(state), encoding="utf-8")
    for path in draft.iterdir():
        files.sync(path)


def steps(run: Path) -> list[int]:
    """Returns the steps of a run's checkpoints, damaged or not, in order."""
    return [_step(path) for path in _paths(run)]


def latest(run: Path) -> Checkpoint | None:
    """Returns the newest whole checkpoint in a run folder; None if the run was stopped before its first.

    Damaged ones are skipped, with a warning. All of its files are read once.

    Raises:
        ConfigError: there are checkpoints, and each is damaged.
    """
    damaged: dict[Path, str] = {}
    for path in reversed(_paths(run)):
        try:
            found = _read(path)
        except DamagedError as error:
            damaged[path] = str(error)
            continue
        for bad, why in damaged.items():
            log.warning("checkpoint %s is damaged (%s): using %s", bad, why, path.name)
        return found
    if damaged:
        reasons = "; ".join(f"{bad.name} is damaged ({why})" for bad, why in damaged.items())
        raise ConfigError(f"{run}: no checkpoint can be read: {reasons}")
    return None


def restore(checkpoint: Checkpoint, policies: Mapping[str, Policy]) -> None:
    """Restores every policy's weights, optimizer state and counters.

    Raises:
        ConfigError: the checkpoint lacks one of them.
    """
    for name, policy in policies.items():
        path = checkpoint.path / f"{name}.pt"
        if not path.exists():
            raise ConfigError(
                f"{checkpoint.path} has no weights of {name}, which did not learn: leave it out of learn"
            )
        policy.restore(path)


def set_aside(run: Path, step: int) -> None:
    """Renames the checkpoints after ``step``, which are damaged: they would count as the newest."""
    for path in _paths(run):
        if _step(path) > step:
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


class DamagedError(Exception):
    """A checkpoint is not what was written."""


def _read(path: Path) -> Checkpoint:
    """Raises ``DamagedError`` if a file is missing, cut off or changed."""
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        found = Checkpoint(state["step"], state["sizes"], state["coach"], state["monitor"], path)
        sums: Mapping[str, str] = state.get("files", {})
    except FileNotFoundError:
        raise DamagedError(f"{STATE} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"{STATE} cannot be read") from None
    for name, expected in sums.items():
        _check(path / name, expected)
    if "files" not in state:  # written by an older version: torch's format has checksums, which torch ignores
        for weights in path.glob("*.pt"):
            _check_archive(weights)
    return found


def _check(path: Path, expected: str) -> None:
    try:
        same = _checksum(path) == expected
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from None
    if not same:
        raise DamagedError(f"{path.name} is not what was written")


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path.name} cannot be read: {reason(error)}") from None
    if changed:
        raise DamagedError(f"{path.name} is not what was written")


def _checksum(path: Path) -> str:
    """The CRC-32 of a file and its length, in bytes: against damage, not against forgery."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            value = zlib.crc32(block, value)
        return f"{value:08x} {file.tell()}"


def _paths(run: Path) -> list[Path]:
    found = (run / "checkpoints").glob("step-*")
    return sorted((path for path in found if re.fullmatch(r"step-\d+", path.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))

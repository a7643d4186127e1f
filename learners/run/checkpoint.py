"""Checkpoints, from which a killed run resumes. A checkpoint is a folder that is either complete or absent:
it is written under another name, synced to disk and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learners.policy import Policy
from learners.run.folder import RunFolder


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


def save(
    folder: RunFolder,
    step: int,
    policies: Mapping[str, Policy],
    *,
    coach: Mapping[str, Any],
    monitor: Mapping[str, Any],
    keep: int,
) -> None:
    """Writes ``checkpoints/step-<step>`` and deletes all but the newest ``keep``."""
    root = folder.path / "checkpoints"
    final = root / f"step-{step:06d}"
    draft = root / f".{final.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for agent, policy in policies.items():
        policy.save(draft / f"{agent}.pt")
    state = {"step": step, "sizes": folder.sizes(), "coach": coach, "monitor": monitor}
    (draft / "state.json").write_text(json.dumps(state), encoding="utf-8")
    for path in draft.iterdir():
        _sync(path)
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    _sync(root)
    for old in _paths(folder.path)[:-keep]:
        shutil.rmtree(old)


def latest(run: Path) -> Checkpoint | None:
    """Returns the newest checkpoint in a run folder; None if the run was killed before its first."""
    paths = _paths(run)
    if not paths:
        return None
    state = json.loads((paths[-1] / "state.json").read_text(encoding="utf-8"))
    return Checkpoint(state["step"], state["sizes"], state["coach"], state["monitor"], paths[-1])


def restore(checkpoint: Checkpoint, policies: Mapping[str, Policy]) -> None:
    """Restores every policy's weights, optimizer state and counters."""
    for agent, policy in policies.items():
        policy.restore(checkpoint.path / f"{agent}.pt")


def _paths(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"))


def _sync(path: Path) -> None:
    """Waits until ``path`` is on disk, so that the rename cannot become durable before the data."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

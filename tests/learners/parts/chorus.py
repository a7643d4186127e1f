"""An environment: three agents speak in turn. It can kill its process in the middle of an episode."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck
from sandbox.base import FileInfo, Sandbox


class Chorus:
    @dataclass
    class Config:
        turns: int
        dies: str | None
        """A file: the first process that finds it missing creates it and dies in the middle of an episode."""

    name = "chorus"
    context = "full"
    preload: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    timeout = 10.0

    def __init__(self, config: Config) -> None:
        self._dies = config.dies
        self.roles = tuple(Role(name, "say aha", config.turns, can_run_code=False) for name in "abc")

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(f"{split}{n}", f"say {n}", "odd" if n % 2 else "even", str(n)) for n in range(4)]

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        if role.name == "b" and self._dies is not None:
            die_once(Path(self._dies))
        return ()

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        said = any(task.answer in turn.action for turn in turns)
        return Outcome(said, float(said), {"fair": float(said)}, "ok" if said else "unsaid")


def die_once(path: Path) -> None:
    """Kills this process, unless ``path`` exists: then one has died already."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

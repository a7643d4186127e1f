"""Three agents say something, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envs.types import Outcome, Role, Split, Task, Turn
from sandbox.artifacts import ArtifactCheck
from sandbox.base import FileInfo, Sandbox


class Chorus:
    @dataclass
    class Config:
        turns: int

    name = "chorus"
    context = "full"
    preload: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    timeout = 10.0

    def __init__(self, config: Config) -> None:
        self.roles = tuple(Role(name, "say aha", config.turns, can_run_code=False) for name in "abc")

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(f"{split}{n}", f"say {n}", "odd" if n % 2 else "even", str(n)) for n in range(4)]

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        return ()

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        said = any(task.answer in turn.action for turn in turns)
        return Outcome(said, float(said), {"fair": float(said)}, "ok" if said else "unsaid")

"""What a fault is: one action of one agent, written otherwise than the sound team would have written it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from envs.types import Task

Change = Callable[[str, Task], str | None]
"""(sound action, task) -> the action with the fault; None where the fault does not fit."""


@dataclass(frozen=True)
class Fault:
    """One way to go wrong. Several may share a ``kind``: the same mistake, by another agent or otherwise."""

    kind: str
    agent: str
    change: Change
    step: Literal["program", "note"] = "program"
    """Where it is planted: in the agent's last program, or in its last words."""


def swap(*pairs: tuple[str, str], regression: bool | None = None) -> Change:
    """Replaces texts that all have to be there. ``{target}`` and ``{id}`` stand for the task's columns.

    ``regression``: fits tasks of this kind only; None: of both.
    """

    def change(action: str, task: Task) -> str | None:
        if regression is not None and regression != (task.kind == "regression"):
            return None
        for old, new in pairs:
            old, new = _named(old, task), _named(new, task)
            if old not in action:
                return None
            action = action.replace(old, new)
        return action

    return change


def _named(text: str, task: Task) -> str:
    columns = task.facts.get("target_columns", ("",))
    return text.replace("{target}", columns[0]).replace("{id}", task.facts.get("id_column", ""))

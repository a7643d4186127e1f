"""Planted faults: each changes one action of one agent of the sound team."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from envs.types import Task

Step = Literal["program", "note"]
Change = Callable[[str, Task], str | None]
"""(sound action, task) -> the action with the fault, or None if the fault does not fit."""


@dataclass(frozen=True)
class Fault:
    """One way to go wrong. Faults of the same ``kind`` are the same mistake by another agent or in another
    form."""

    kind: str
    agent: str
    change: Change
    step: Step = "program"
    """Where the fault is planted: in the agent's last program or in its closing note."""
    narrow: bool = False
    """It makes a difference in very few tasks, so that it is planted first where it fits."""
    edition: int = 1
    """The edition of the corpus in which the kind came first (``cases.Case.edition``)."""


def swap(*pairs: tuple[str, str], regression: bool | None = None) -> Change:
    """Replaces each old text by its new one; fits only if all old texts occur.

    ``{target}`` and ``{id}`` stand for the task's columns. ``regression``: True fits regression tasks only,
    False all other tasks, None all tasks.
    """

    def change(action: str, task: Task) -> str | None:
        if regression is not None and regression != (task.kind == "regression"):
            return None
        for old, new in pairs:
            old, new = _insert_columns(old, task), _insert_columns(new, task)
            if old not in action:
                return None
            action = action.replace(old, new)
        return action

    return change


def _insert_columns(text: str, task: Task) -> str:
    columns = task.facts.get("target_columns", ("",))
    return text.replace("{target}", columns[0]).replace("{id}", task.facts.get("id_column", ""))

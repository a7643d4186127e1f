"""Which agent wrote which file of an episode, from file hashes before and after each turn, not from
claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs.types import Turn
from sandbox.base import FileInfo


@dataclass(frozen=True)
class FileChange:
    """The last change of one file.

    ``FileChange("modeler", 3, "9f86d0…")``
    """

    agent: str | None
    """None: the file changed between two turns, by something other than an agent's program."""
    turn: int
    """``Turn.index`` of the turn that changed the file; if it changed between two turns, of the later one."""
    sha256: str | None
    """Hash of the new content; "" for a file too large to be hashed, None for a removed file."""


def last_changes(turns: Sequence[Turn]) -> dict[str, FileChange]:
    """Returns the last change of every path that changed in the episode, sorted by path.

    The task's own files appear only if they were changed. A file rewritten with its previous content does not
    count as changed. Files that listings omit (hidden ones, or those beyond a listing's limits) are unknown.
    """
    changes: dict[str, FileChange] = {}
    for position, turn in enumerate(turns):
        if position:
            _record(changes, turns[position - 1].files_after, turn.files_before, None, turn.index)
        _record(changes, turn.files_before, turn.files_after, turn.agent, turn.index)
    return dict(sorted(changes.items()))


def last_writer(turns: Sequence[Turn], path: str) -> int | None:
    """Returns the index of the turn that gave ``path`` its content after the last of ``turns``.

    None if there is no such file, if it never changed, or if it changed between two turns.
    """
    change = last_changes(turns).get(path)
    return None if change is None or change.agent is None or change.sha256 is None else change.turn


def _record(
    changes: dict[str, FileChange],
    before: Sequence[FileInfo],
    after: Sequence[FileInfo],
    agent: str | None,
    turn: int,
) -> None:
    old, new = ({file.path: file for file in files} for files in (before, after))
    for path in old.keys() | new.keys():
        if old.get(path) != new.get(path):
            changes[path] = FileChange(agent, turn, new[path].sha256 if path in new else None)

"""Who wrote which file of an episode: read from the hashes before and after each turn, not from what agents
say."""

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
    """None: it changed between two turns, when an artifact was loaded for a check and did more than load."""
    turn: int
    """``Turn.index`` of the turn that changed it, or, between two turns, of the later one."""
    sha256: str | None
    """What it holds since then: "" for a file too large to be hashed; None where it was removed."""


def last_changes(turns: Sequence[Turn]) -> dict[str, FileChange]:
    """The last change of every path that changed in the episode, sorted by path.

    A file that the task came with appears once somebody changed it, and one that was written with the content
    that it had already does not. Files that a listing leaves out (hidden, or past its bounds) are not seen.
    """
    found: dict[str, FileChange] = {}
    for place, turn in enumerate(turns):
        if place:
            _note(found, turns[place - 1].files_after, turn.files_before, None, turn.index)
        _note(found, turn.files_before, turn.files_after, turn.agent, turn.index)
    return dict(sorted(found.items()))


def last_writer(turns: Sequence[Turn], path: str) -> int | None:
    """Index of the turn that made ``path`` what it is after the last of ``turns``.

    None if it is not there, was there unchanged from the start, or changed between two turns.
    """
    found = last_changes(turns).get(path)
    return None if found is None or found.agent is None or found.sha256 is None else found.turn


def _note(
    found: dict[str, FileChange],
    before: Sequence[FileInfo],
    after: Sequence[FileInfo],
    agent: str | None,
    turn: int,
) -> None:
    old, new = ({file.path: file for file in files} for files in (before, after))
    for path in old.keys() | new.keys():
        if old.get(path) != new.get(path):
            found[path] = FileChange(agent, turn, new[path].sha256 if path in new else None)

"""The files that a run kept of an episode, moment by moment."""

from __future__ import annotations

from collections.abc import Sequence

from coaches.base import History
from coaches.replay.programs import Files
from envs.types import Turn
from sandbox.base import FileInfo


def moments(turns: Sequence[Turn]) -> list[Files] | None:
    """Returns the files before the first turn, and after each one; None if they were not kept.

    A file that is not in the store, such as one too large for it, is left out.
    """
    store = turns.store if isinstance(turns, History) else None
    if store is None or not turns:
        return None
    read: dict[str, bytes] = {}

    def content(file: FileInfo) -> bytes:
        if file.sha256 not in read:
            read[file.sha256] = store.get(file.sha256)
        return read[file.sha256]

    listings = [turns[0].files_before, *(turn.files_after for turn in turns)]
    return [{file.path: content(file) for file in files if file.sha256 in store} for files in listings]


def left_out(turns: Sequence[Turn], moments: Sequence[Files]) -> list[str]:
    """Returns a line for each product that a turn left and that is not among the files of its moment: it was
    too large, or the program that made it left none when it ran again."""
    products = {spec.name for turn in turns for spec in turn.role.produces}
    lost: dict[str, None] = {}
    for turn, files in zip(turns, moments[1:], strict=True):
        for file in turn.files_after:
            if file.path in products and file.path not in files:
                lost[f"{file.path}: its content was not kept"] = None
    return list(lost)

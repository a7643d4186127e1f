"""What an agent can do about a check that failed, by the check's code."""

from __future__ import annotations

from envs.types import Turn
from sandbox.artifacts import ArtifactCheck

_ADVICE = {
    "missing": "Write it under exactly this name into the working folder.",
    "empty": "Write it again, and close the file.",
    "size": "Save less: a smaller model, fewer columns, or smaller number types.",
    "foreign": "Build it from the libraries' own classes and save it again.",
    "unreadable": "Save it again in the expected format and load it once to test it.",
    "kind": "Save an object of the expected kind.",
    "rows": "Keep every row: use neither dropna nor filters, and merge with how='left'.",
    "columns": "Use exactly the expected columns, in that order: reindex(columns=…) helps.",
    "text": "Encode these columns as numbers, or drop them.",
    "nan": "Fill or replace these values in every table, with values learned from the training rows.",
    "ids": "Copy the ids from the test file, as text if they are not plain numbers.",
    "range": "Write values of the kind and range that the task asks for.",
    "copied": "The values of the sample are not predictions: write those of a model.",
}


def states(turn: Turn) -> list[str]:
    """Returns a line for each artifact of the role after ``turn``: in order, or what is wrong and what helps.

    The files that a role receives are named only where they are not in order.
    """
    produced = {spec.name for spec in turn.role.produces}
    return [
        _state(check, own=check.name in produced)
        for check in turn.checks
        if check.code != "ok" or check.name in produced
    ]


def _state(check: ArtifactCheck, *, own: bool) -> str:
    if check.code == "ok":
        return f"- {check.name} is in order."
    detail = " ".join(check.detail.split())[:500]
    line = f"- {check.name} is not in order ({check.code}){f': {detail}' if detail else ''}."
    if not own:
        return f"{line} You received it like this: repair it if you can."
    return f"{line} {_ADVICE[check.code]}" if check.code in _ADVICE else line

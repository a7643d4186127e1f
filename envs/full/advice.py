"""What an agent can do about a check that failed, by the check's code."""

from __future__ import annotations

from envs.types import Turn
from sandbox.artifacts import ArtifactCheck

_DETAIL_CHARS = 500
_ADVICE = {
    "missing": "Write it under exactly this name into the working folder, as a file and not as a link.",
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

_OF_ROWS = {"table", "vector", "csv"}
"""Kinds whose rows come from the rows of another table."""


def produced(turn: Turn) -> list[str]:
    """Returns a line for each artifact that the role must produce: in order, or what is wrong."""
    return [_state(check) for check in _own(turn)]


def advised(turn: Turn) -> list[str]:
    """Returns the same for the agent itself, with what helps; and what is wrong with what it received."""
    own = _own(turn)
    others = [check for check in turn.checks if check.code != "ok" and check not in own]
    return [
        *(f"{_state(check)} {_advice(check, turn)}".rstrip() for check in own),
        *(f"{_state(check)} It is a file that you received: repair it if you can." for check in others),
    ]


def _own(turn: Turn) -> list[ArtifactCheck]:
    names = {spec.name for spec in turn.role.produces}
    return [check for check in turn.checks if check.name in names]


def _advice(check: ArtifactCheck, turn: Turn) -> str:
    kinds = {spec.name: spec.kind for spec in turn.role.produces}
    if check.code == "rows" and kinds[check.name] not in _OF_ROWS:
        return "Write exactly as many as are asked for."
    return _ADVICE.get(check.code, "")


def _state(check: ArtifactCheck) -> str:
    if check.code == "ok":
        return f"- {check.name} is in order."
    detail = " ".join(check.detail.split())[:_DETAIL_CHARS]
    return f"- {check.name} is not in order ({check.code}){f': {detail}' if detail else ''}."

"""What the audits in the sandbox said, read without trust: complaints, and what could not be examined.

Once a model is loaded, which may be hostile, no complaint counts but those about it, about the submission,
and about a target that was found on another scale before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.report import END, LOADING, UNANNOUNCED
from coaches.audits.guest.tables import Names
from sandbox.base import Result

MAX_TEXT, MAX_LINES = 400, 20
_MAX_ERROR = 120
_ENDED = {"timeout": "took too long", "killed": "was killed", "output_limit": "printed too much"}


def read(result: Result, names: Names, timeout: float) -> tuple[list[Complaint], list[str]]:
    """Returns the complaints, and a line for each step that failed or did not end.

    A model that ends the process, or uses half of ``timeout`` up in CPU time, is complained of: none that is
    sound does; one that takes longer for another reason is in doubt.
    """
    files = {names.features, names.target, names.test_features, names.submission}
    step, rescaled, loaded = "the first step", False, False
    complaints: list[Complaint] = []
    missed: list[str] = []
    for row in _rows(result.stdout):
        if row == UNANNOUNCED:
            rescaled = rescaled or not loaded
        elif row == LOADING:
            loaded, files = True, {names.model, names.submission, names.target if rescaled else ""}
        elif isinstance(row, Mapping) and isinstance(row.get("step"), str):
            step = _printable(row["step"], 20)
        elif isinstance(row, Mapping) and isinstance(row.get("failed"), str):
            missed.append(f"{_printable(row['failed'], 20)}: {_printable(row.get('error'), _MAX_ERROR)}")
        elif (found := _complaint(row)) is not None and found.artifact in files - {""}:
            complaints.append(found)
    if step != END:
        how = _ENDED.get(result.status, "ended its process")
        missed.append(f"{step}: {how}")
        if loaded and names.model and not any(one.artifact == names.model for one in complaints):
            waited = result.status == "timeout" and result.cpu_s < timeout / 2
            strength = "doubt" if waited else "proof"
            complaints.append(Complaint("model", names.model, strength, f"whoever predicts with it {how}"))
    return complaints[:MAX_LINES], missed[:MAX_LINES]


def _rows(stdout: str) -> Iterator[Any]:
    for line in stdout.splitlines():
        if line.startswith(("{", '"')):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue


def _complaint(row: Any) -> Complaint | None:
    try:
        found = Complaint(*(row[name] for name in Complaint._fields))
    except (KeyError, TypeError, IndexError):
        return None
    texts = all(isinstance(part, str) for part in found)
    if not texts or found.strength not in ("proof", "doubt", "words"):
        return None
    return found._replace(text=_printable(found.text, MAX_TEXT), audit=_printable(found.audit, 20))


def _printable(text: object, most: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:most])

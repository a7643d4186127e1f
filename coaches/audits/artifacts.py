"""Audits the files of an episode of a table task, moment by moment, and says which turn each complaint is
about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coaches.audits import claims, layout
from coaches.audits.box import Box
from coaches.audits.findings import Finding, Strength
from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Names
from envs.types import Turn

Files = Mapping[str, bytes]


def examine(turns: Sequence[Turn], moments: Sequence[Files], names: Names, box: Box) -> list[Finding]:
    """Returns what audits find after each turn that changed a file of the team.

    ``moments``: the files before the first turn and after each one. The tables of the task are those before
    the first turn. A complaint is about the turn that last changed the file, and is reported once.
    """
    findings: list[Finding] = []
    known: set[tuple[str, str]] = set()
    for place in range(len(turns)):
        wanted = _wanted(names, moments[place], moments[place + 1])
        if not wanted:
            continue
        files = dict(moments[place + 1]) | {name: moments[0][name] for name in _given(names, moments[0])}
        told = turns[: place + 1] if place + 1 < len(turns) else turns
        facts = dict(turns[0].facts) | {"claims": _claims(turns, names)}
        for complaint in box.complaints(files, names, facts, wanted):
            if (complaint.audit, complaint.artifact) not in known:
                known.add((complaint.audit, complaint.artifact))
                findings += _finding(complaint, told, moments, names, turns)
    return findings


def _wanted(names: Names, before: Files, after: Files) -> list[str]:
    """Returns which audits a change of files calls for."""
    changed = {
        name for name in after if before.get(name) is not after[name] and before.get(name) != after[name]
    }
    tables = {names.features, names.target, names.test_features}
    wanted = []
    if changed & tables and tables <= after.keys():
        wanted.append("tables")
    if changed & {names.model, names.features, names.target} and names.model in after:
        wanted.append("model")
    if changed & {names.submission, names.model, names.test_features} and names.submission in after:
        wanted.append("submission")
    return wanted


def _given(names: Names, start: Files) -> list[str]:
    return [name for name in (names.train, names.test, names.sample) if name in start]


def _claims(turns: Sequence[Turn], names: Names) -> dict[str, tuple[str, ...]]:
    files = (names.target, names.model)
    return {name: claims.of(turns, layout.maker(turns, name)).names for name in files if name}


def _finding(
    complaint: Complaint, told: Sequence[Turn], moments: Sequence[Files], names: Names, turns: Sequence[Turn]
) -> list[Finding]:
    strength: Strength = "doubt" if complaint.strength == "doubt" else "proof"
    text = f"{complaint.artifact} {complaint.text}"
    if complaint.strength == "words":
        said = claims.of(turns, layout.maker(turns, complaint.artifact)).turn
        return [Finding(complaint.audit, said, strength, text)] if said >= 0 else []
    writer = _writer(complaint.artifact, len(told), moments)
    return [] if writer is None else [Finding(complaint.audit, writer, strength, text)]


def _writer(name: str, length: int, moments: Sequence[Files]) -> int | None:
    """Returns the index of the last of the first ``length`` turns that changed the content of a file."""
    for place in range(length - 1, -1, -1):
        if moments[place + 1].get(name) != moments[place].get(name):
            return place
    return None

"""Audits the files of an episode of a table task, moment by moment, and says which turn each complaint is
about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from coaches.audits import claims, layout
from coaches.audits.box import Box
from coaches.audits.findings import Finding, Strength
from coaches.audits.guest.complaint import Complaint
from coaches.audits.guest.tables import Names
from envs.types import Turn

Files = Mapping[str, bytes]


def examine(turns: Sequence[Turn], moments: Sequence[Files], names: Names, box: Box) -> list[Finding]:
    """Returns what audits find in the files that each stage left.

    What an agent repaired before its stage ended is not complained of. ``moments``: the files before the
    first turn and after each one. The tables of the task are those before the first turn. A complaint is
    about the turn that last changed the file, and is reported once.
    """
    findings: list[Finding] = []
    known: set[tuple[str, str]] = set()
    facts = dict(turns[0].facts) | {"claims": _claims(turns, names)}
    ends = sorted({turn.index + 1 for turn in turns if turn.last} | {len(turns)})
    for end, wanted in _runs(names, moments, ends):
        files = dict(moments[end]) | {name: moments[0][name] for name in _given(names, moments[0])}
        for complaint in box.complaints(files, names, facts, wanted):
            if (complaint.audit, complaint.artifact) not in known:
                known.add((complaint.audit, complaint.artifact))
                findings += _finding(complaint, end, moments, turns)
    return findings


def _runs(names: Names, moments: Sequence[Files], ends: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Yields which of the moments at ``ends`` to audit, and for what: each group of audits once for every
    version of its files, several together at the last moment at which all of their files are the same."""
    needs = {
        "tables": (names.features, names.target, names.test_features),
        "model": (names.model, names.features, names.target),
        "submission": (names.submission, names.model, names.test_features),
    }
    pending: list[str] = []
    for before, place in zip((0, *ends), ends, strict=False):
        changed = _changed(moments[before], moments[place])
        if any(changed.intersection(needs[group]) for group in pending):
            yield before, pending
            pending = []
        pending += [
            group
            for group, files in needs.items()
            if changed.intersection(files) and moments[place].keys() >= set(files)
        ]
    if pending:
        yield ends[-1], pending


def _changed(before: Files, after: Files) -> set[str]:
    return {
        name for name in before.keys() | after.keys()
        if before.get(name) is not after.get(name) and before.get(name) != after.get(name)
    }  # fmt: skip


def _given(names: Names, start: Files) -> list[str]:
    return [name for name in (names.train, names.test, names.sample) if name in start]


def _claims(turns: Sequence[Turn], names: Names) -> dict[str, tuple[str, ...]]:
    files = (names.target, names.model)
    return {name: claims.of(turns, layout.maker(turns, name)).names for name in files if name}


def _finding(
    complaint: Complaint, end: int, moments: Sequence[Files], turns: Sequence[Turn]
) -> list[Finding]:
    strength: Strength = "doubt" if complaint.strength == "doubt" else "proof"
    text = f"{complaint.artifact} {complaint.text}"
    if complaint.strength == "words":
        said = claims.of(turns, layout.maker(turns, complaint.artifact)).turn
        return [Finding(complaint.audit, said, strength, text)] if said >= 0 else []
    writer = _writer(complaint.artifact, end, moments)
    return [] if writer is None else [Finding(complaint.audit, writer, strength, text)]


def _writer(name: str, length: int, moments: Sequence[Files]) -> int | None:
    """Returns the index of the last of the first ``length`` turns that changed the content of a file."""
    for place in range(length - 1, -1, -1):
        if moments[place + 1].get(name) != moments[place].get(name):
            return place
    return None

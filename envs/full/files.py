"""Files in words: what a role must hand over, and what is in the working folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from conf.counts import plural
from envs.episode.provenance import last_changes
from envs.types import Role, Task, Turn
from sandbox.artifacts import ArtifactSpec

MOST_FILES = 30
"""A listing has at most this many files."""
_NAME_CHARS = 80
_KINDS = {
    "table": "a pandas DataFrame",
    "vector": "a pandas Series or numpy array",
    "estimator": "a fitted scikit-learn estimator",
    "csv": "a CSV file",
    "json": "a JSON file",
}


def duties(role: Role) -> str:
    """Returns the files that ``role`` receives and must produce; empty if there are none."""
    lines = []
    for title, specs in (("You receive", role.requires), ("You must produce", role.produces)):
        if specs:
            lines += [f"{title}:", *(f"- {_wanted(spec)}" for spec in specs)]
    return "\n".join(lines)


def opening_listing(task: Task, turns: Sequence[Turn]) -> str:
    """Returns the working folder after ``turns``, which the next agent finds; empty if it is empty."""
    if turns:
        return listing(turns, "")
    sizes = {name: _size(source) for name, source in task.files.items()}
    return _lines((name, sizes[name], "given with the task") for name in sorted(sizes))


def listing(turns: Sequence[Turn], reader: str) -> str:
    """Returns the files after the last of ``turns``, with their sizes and who wrote them, for ``reader``."""
    changes = last_changes(turns)
    numbers = {turn.index: turn.attempt + 1 for turn in turns}

    def writer(path: str) -> str:
        change = changes.get(path)
        if change is None:
            return "given with the task"
        if change.agent is None:
            return "not written by any agent's program"
        number = numbers[change.turn]
        return f"written by {'you' if change.agent == reader else change.agent} in turn {number}"

    return _lines((file.path, file.size, writer(file.path)) for file in turns[-1].files_after)


def _wanted(spec: ArtifactSpec) -> str:
    facts = [_KINDS[spec.kind]] if spec.kind in _KINDS else []
    rows = "an array of {}" if spec.kind == "json" else "{}"
    counted = "element" if spec.kind == "json" else "row"
    facts += [rows.format(plural(spec.rows, counted))] if spec.rows is not None else []
    facts += [f"one row for each row of {spec.rows_of}, in the same order"] if spec.rows_of else []
    facts += [f"the columns of {spec.columns_of}, in the same order"] if spec.columns_of else []
    facts += ["numeric columns only"] if spec.numeric else []
    facts += ["no missing or infinite values"] if spec.complete else []
    return f"{spec.name}: {'; '.join(facts)}" if facts else spec.name


def _lines(files: Iterable[tuple[str, int, str]]) -> str:
    return "\n".join(_bounded([f"- {_name(path)}: {size(n)}, {origin}" for path, n, origin in files]))


def _bounded(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:MOST_FILES]
    if len(lines) > MOST_FILES:
        yield f"- and {len(lines) - MOST_FILES} more"


def _name(path: str) -> str:
    """Returns a file's name, which an agent chose, as one short printable line."""
    shown = "".join(char if char.isprintable() else "�" for char in path)
    return shown if len(shown) <= _NAME_CHARS else f"{shown[:_NAME_CHARS]}…"


def size(count: int) -> str:
    """Returns a number of bytes for readers: ``61.2 kB``."""
    for unit, factor in (("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def _size(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size

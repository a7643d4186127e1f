"""What scripted agents read in their messages: the headings of ``envs.base`` and lines with a marker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from envs.types import Message

_TASK = re.compile(r"^## Task: (\w+); metric (\w+); submit (\w+);", re.MULTILINE)
_HEADER = re.compile(r"must have the header (\w+),(\w+)")
_COLUMN = re.compile(r"^- (\w+): (number|text|date),", re.MULTILINE)
_STATUS = re.compile(r"^## Result of turn \d+ of \d+: (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class TableTask:
    """A table task as its prompt describes it."""

    task_type: str
    prediction: str
    id_column: str
    target: str
    columns: tuple[tuple[str, str], ...]
    """Name and kind (``number``, ``text`` or ``date``) of every feature."""

    def names(self, kind: str) -> list[str]:
        return [name for name, actual in self.columns if actual == kind]


def table_task(messages: Sequence[Message]) -> TableTask:
    """Reads the table task. Raises ``ValueError`` if the messages contain none."""
    text = messages[1].content
    heading, header = _TASK.search(text), _HEADER.search(text)
    if heading is None or header is None:
        raise ValueError("these messages contain no table task")
    columns = tuple((name, kind) for name, kind in _COLUMN.findall(text.split("\n## From ")[0]))
    return TableTask(heading[1], heading[3], header[1], header[2], columns)


def own_turns(messages: Sequence[Message]) -> int:
    """Returns the number of turns that the reader has taken."""
    return sum(message.role == "assistant" for message in messages)


def first_action(messages: Sequence[Message]) -> str:
    """Returns the reader's first action; empty before its first turn."""
    return next((message.content for message in messages if message.role == "assistant"), "")


def last_status(messages: Sequence[Message]) -> str:
    """Returns the status of the reader's last program; ``none`` before the first."""
    statuses = _STATUS.findall(messages[-1].content)
    return statuses[-1] if statuses else "none"


def section(messages: Sequence[Message], agent: str) -> str:
    """Returns everything that ``agent`` handed over, including its programs and their output; empty if
    nothing."""
    parts = re.split(r"^## From (\w+): .*$", messages[1].content, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(agent, "")


def marked(text: str, mark: str) -> str | None:
    """Returns the rest of the last line that begins with ``<mark>: ``; None if there is no such line."""
    values = re.findall(rf"^{mark}: (.+)$", text, flags=re.MULTILINE)
    return values[-1].strip() if values else None


def printed(text: str) -> str | None:
    """Returns the last line of the last output in ``text``; None if nothing was printed."""
    outputs = re.findall(r"^### stdout\n((?:(?!###).*\n?)+)", text, flags=re.MULTILINE)
    lines = [line.strip() for line in outputs[-1].splitlines() if line.strip()] if outputs else []
    return lines[-1] if lines else None

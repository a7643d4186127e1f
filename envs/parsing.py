"""Parses actions: removes the thinking and extracts the program."""

from __future__ import annotations

import re

_TAG = re.compile(r"</?think>")
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)")
_PYTHON = re.compile(r"\{?\.?(python3?|py)\b", re.IGNORECASE)


def strip_thinking(action: str) -> str:
    """Returns ``action`` without its thinking.

    A chat template may have put the opening ``<think>`` into the prompt, so everything before an unopened
    ``</think>`` is thinking. A ``<think>`` that is never closed (in a truncated action) hides the rest.
    """
    parts: list[str] = []
    position, thinking = 0, False
    for tag in _TAG.finditer(action):
        if tag.group() == "<think>":
            if not thinking:
                parts.append(action[position : tag.start()])
            thinking = True
        else:
            if not thinking:
                parts.clear()
            position, thinking = tag.end(), False
    if not thinking:
        parts.append(action[position:])
    return "".join(parts).strip()


def extract_program(action: str) -> str | None:
    """Returns all fenced python blocks outside of thinking, joined into one program; None if there are none.

    Fences are those of CommonMark: backticks or tildes; an indented block loses the indentation of its fence;
    an unclosed block extends to the end. Blocks in another or no language are ignored.
    """
    blocks = [block for info, block in _fenced(strip_thinking(action)) if _PYTHON.match(info)]
    code = "\n".join(blocks)
    return code if code.strip() else None


def _fenced(text: str) -> list[tuple[str, str]]:
    """Returns (info string, content) of every fenced block."""
    blocks: list[tuple[str, str]] = []
    opening: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if opening is None:
            opening, lines = _FENCE.fullmatch(line.rstrip()), []
        elif _closes(line.strip(), opening["fence"]):
            blocks.append((opening["info"], "\n".join(lines)))
            opening = None
        else:
            lines.append(_unindent(line, len(opening["indent"])))
    if opening is not None:
        blocks.append((opening["info"], "\n".join(lines)))
    return blocks


def _closes(line: str, fence: str) -> bool:
    return len(line) >= len(fence) and line == fence[0] * len(line)


def _unindent(line: str, width: int) -> str:
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]

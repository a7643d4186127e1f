"""What an action says: the part that others may read, and the program in it."""

from __future__ import annotations

import re

_TAG = re.compile(r"</?think>")
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)")
_PYTHON = re.compile(r"\{?\.?(python3?|py)\b", re.IGNORECASE)
_UNENCODABLE = re.compile("[\ud800-\udfff\0]")


def replace_unencodable(text: str) -> str:
    """``text`` with lone surrogates and NUL replaced by U+FFFD: no file, endpoint or compiler takes them."""
    return _UNENCODABLE.sub("\ufffd", text)


def strip_thinking(action: str) -> str:
    """``action`` without its thinking.

    A chat template may have opened ``<think>`` in the prompt: everything before a ``</think>`` that nothing
    opened is thinking. A ``<think>`` that is never closed (a truncated action) hides all that follows.
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
    """All fenced python blocks of what ``action`` says, joined into one program; None without any.

    Fences as in CommonMark: backticks or tildes; an indented block loses its fence's indent; a block that is
    never closed runs to the end. Blocks of another or of no language are no program.
    """
    blocks = [block for info, block in _fenced(strip_thinking(action)) if _PYTHON.match(info)]
    code = "\n".join(blocks)
    return code if code.strip() else None


def _fenced(text: str) -> list[tuple[str, str]]:
    """(info string, content) of every fenced block."""
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

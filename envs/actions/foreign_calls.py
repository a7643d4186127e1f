"""Calls of tools as other systems write them, and programs without a fence: not read, but never taken for an
agent's last word."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from envs.actions.fences import Block
from envs.actions.python_text import MOST_CHARS, does_something

_MARKS = re.compile(
    r"<(?:execute|code|tool_code|python|function_calls|invoke|function|tool)\b[^<>\n]{0,80}>(?=[\s\S]*</)|<\|python_tag\|>"
    r"|\[TOOL_CALLS\]|^[ \t]*(?:'''|\"\"\")(?:python|py)\b|^[ \t]*`{3,}[ \t]*(?:python|py)\b"
    r"|^[ \t]*Action:.*\n[ \t]*Action Input:",
    re.IGNORECASE | re.MULTILINE,
)
_MARKDOWN = re.compile(r"md|markdown", re.IGNORECASE)
_FIRST = re.compile(r"\s*[\[{]")
_ARGUMENTS = {"arguments", "parameters", "args", "input"}


def found(prose: str, blocks: Sequence[Block]) -> str:
    """Returns what in an action seems to be a call or a program, for the agent; ``""`` if there is nothing.

    ``prose``: the action without its thinking and its ``blocks``.
    """
    documents = [block.content for block in blocks if _MARKDOWN.fullmatch(block.info)]
    if (mark := next(filter(None, map(_MARKS.search, (prose, *documents))), None)) is not None:
        return f"{' '.join(mark.group().split())[:40]!r} does not start a program here"
    if any(map(_is_call, (prose, *(block.content for block in blocks)))):
        return "a call of a tool outside of <tool_call> was not run"
    if len(prose) <= MOST_CHARS and does_something(prose):
        return "a program without a fence was not run"
    return ""


def _is_call(text: str) -> bool:
    """Whether ``text`` is the JSON of a call, or of a list of calls."""
    if len(text) > MOST_CHARS or not _FIRST.match(text):
        return False
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    calls = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict) and "name" in one and bool(_ARGUMENTS & one.keys()) for one in calls)

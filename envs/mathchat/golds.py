"""Answers of problem files that are packed into a text, as exports of tables leave them."""

from __future__ import annotations

import ast
import re
from typing import Any

_MAX_CHARS = 10_000
_NO_COMMA = re.compile(r"""['"]\s+['"]""")
"""Between two texts, as numpy prints them; Python would join them to one."""


def unpacked(answer: Any) -> Any:
    """Returns the answers in a list that is a text, and the number after GSM8K's ``####``; other answers as
    they are.

    ``"['2']"`` -> ``["2"]``. Bare numbers or symbols are mathematics: ``"[0, 1]"`` is an interval and
    ``"(1, 2)"`` a point.

    Raises:
        ValueError: a list in a text may be meant in several ways.
    """
    if isinstance(answer, list):
        return [unpacked(one) for one in answer]
    if not isinstance(answer, str):
        return answer
    text = answer.strip()
    if "####" in text:
        return text.rpartition("####")[2].strip()
    value = _literal(text)
    if isinstance(value, dict):
        raise ValueError(f"{answer!r:.80} is a dict in a text")
    if not isinstance(value, list | tuple | set):
        return answer
    texts = [one for one in value if isinstance(one, str)]
    if _NO_COMMA.search(text) and texts:
        raise ValueError(_ambiguous(answer))
    if texts and len(texts) == len(value):
        return sorted(texts) if isinstance(value, set) else texts
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int | float):
        return value
    if isinstance(value, list) and value and not _interval(value):
        raise ValueError(_ambiguous(answer))
    return answer if value else value


def _literal(text: str) -> Any:
    """Returns the Python value that ``text`` writes in brackets, or None."""
    if not (text[:1] in "[({" and text[-1:] in "])}") or len(text) > _MAX_CHARS:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _interval(value: list[Any]) -> bool:
    numbers = all(isinstance(one, int | float) for one in value)
    return numbers and len(value) == 2 and value[0] < value[1]


def _ambiguous(answer: str) -> str:
    return f"{answer!r:.80} is a list in a text; write alternatives as a JSON list, and a tuple as (1, 2)"

"""Text that comes from outside: characters that no file, endpoint or compiler accepts are replaced where it
enters."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_UNENCODABLE = re.compile("[\ud800-\udfff\0]")
_MAY_DECODE_TO_ONE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
"""A JSON escape of a surrogate, alone or in a pair, or of NUL."""


def replace_unencodable(text: str) -> str:
    """Replaces lone surrogates and NUL by U+FFFD, and a pair of surrogates by its character.

    The only place that decides what stands for them.
    """
    return _UNENCODABLE.sub("\ufffd", _PAIR.sub(_joined, text))


def loads(text: str, **options: Any) -> Any:
    """Returns the JSON value of ``text``, ``replaced``. ``options`` are those of ``json.loads``.

    Raises:
        ValueError, RecursionError: as ``json.loads``.
    """
    value = json.loads(text, **options)
    suspect = _UNENCODABLE.search(text) or _MAY_DECODE_TO_ONE.search(text)
    return replaced(value) if suspect else value


def replaced(value: Any) -> Any:
    """Returns a JSON value with every text in it, keys included, as ``replace_unencodable`` returns it."""
    if isinstance(value, str):
        return replace_unencodable(value)
    if isinstance(value, list):
        return [replaced(item) for item in value]
    if isinstance(value, dict):
        return {replaced(key): replaced(item) for key, item in value.items()}
    return value


def finite(value: Any) -> Any:
    """Returns a JSON value with null for floats that are not finite, which JSON does not have."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def _joined(pair: re.Match[str]) -> str:
    return pair.group().encode("utf-16", "surrogatepass").decode("utf-16")

"""Texts of agents as attributes of spans: bounded, and without characters that no exporter accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from conf.text import finite, replace_unencodable, replaced
from envs.observations import truncate_middle
from envs.types import Message

MOST = 65_536
"""Characters of one attribute. Longer texts lose their middle, where the number of lost characters stands."""
_MARKER = 64
"""Characters for that number."""
_SHORTEST = 256
"""Characters of a message below which whole messages are left out instead."""


def plain(text: str) -> str:
    """Returns a text of at most ``MOST`` characters."""
    text = replace_unencodable(text)
    return text if len(text) <= MOST else truncate_middle(text, MOST - _MARKER)


def fields(values: Mapping[str, Any]) -> str:
    """Returns an object as JSON of at most ``MOST`` characters; long texts in it are truncated."""
    limit = MOST
    while True:
        cut = {key: _cut(value, limit) for key, value in values.items()}
        if len(text := _json(cut)) <= MOST or limit < 2:
            return text
        limit //= 2


def whole(value: Any) -> str | None:
    """Returns a value as JSON; None if that takes more than ``MOST`` characters: a part would not be JSON."""
    text = _json(value)
    return text if len(text) <= MOST else None


def messages(said: Sequence[Message], **keys: Any) -> tuple[str, int]:
    """Returns messages in the form of ``gen_ai.input.messages``, and how many of them were left out.

    To keep to ``MOST`` characters, texts are truncated first; then messages after the first one are left out,
    the oldest first. ``keys``: what every message has besides.
    """
    kept, limit = list(said), MOST
    while True:
        while limit > _SHORTEST and sum(min(len(one.content), limit) for one in kept) > MOST:
            limit //= 2  # without making texts that are too long in any case
        rows = [
            {"role": one.role, "parts": [{"type": "text", "content": _cut(one.content, limit)}], **keys}
            for one in kept
        ]
        if len(text := _json(rows)) <= MOST:
            return text, len(said) - len(kept)
        if limit > _SHORTEST:
            limit //= 2
        else:
            kept = [*kept[:1], *kept[1 + max(1, len(kept) // 2) :]]


def _cut(value: Any, limit: int) -> Any:
    return truncate_middle(value, limit) if isinstance(value, str) else value


def _json(value: Any) -> str:
    return json.dumps(replaced(finite(value)), ensure_ascii=False, separators=(",", ":"))

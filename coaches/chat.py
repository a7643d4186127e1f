"""What a coach needs of a chat model, and how hostile text is put before one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import conf
from coaches.base import CoachError, Usage


class ChatModel(Protocol):
    """A model that answers one question at a time; safe to ask from several threads."""

    def ask(self, system: str, user: str, schema: Mapping[str, Any]) -> tuple[str, Usage]:
        """The model's answer as text, JSON by the JSON Schema ``schema`` where the model keeps to it.

        Raises:
            CoachError: there is no answer, after all retries.
            BudgetError: there is no money or there are no tokens left to ask with.
        """
        ...


class UnreadableError(CoachError):
    """The model's answer is not what it was asked for."""


def build(node: Mapping[str, Any] | None) -> ChatModel:
    """The chat model of a node in a coach's settings: a part of ``coaches`` that has ``ask``.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(node, Mapping) or "name" not in node:
        raise conf.ConfigError(f"a chat model is a node such as {{name: llm}}, not {node!r}")
    found = conf.build("coaches", conf.filled("coach", node))
    if not hasattr(found, "ask"):
        raise conf.ConfigError(f"{node['name']} is no chat model: it has no ask")
    return cast(ChatModel, found)


def delimited(texts: Sequence[str]) -> tuple[str, list[str]]:
    """A marker that none of ``texts`` holds, and the texts between lines that bear it.

    The marker is a digest of all the texts together: the same question has the same marker and can be cached,
    and no text can hold it, for it would have to hold a digest of itself.
    """
    marker = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:24]
    while any(marker in text for text in texts):
        marker = hashlib.sha256(marker.encode()).hexdigest()[:24]
    return marker, [f"<data {marker}>\n{text}\n</data {marker}>" for text in texts]


def read_object(answer: str) -> dict[str, Any]:
    """The one JSON object that ``answer`` is, alone or in one fence.

    Raises:
        UnreadableError: it is none, or says a thing twice.
    """
    text = answer.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text.split("\n", 1)[1].removesuffix("```")
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise UnreadableError("the answer is not one JSON object") from None
    if not isinstance(found, dict):
        raise UnreadableError("the answer is not one JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``dict``, but two values for one key are no value: which one was meant is not ours to guess."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found

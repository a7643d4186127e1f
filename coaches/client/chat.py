"""What a coach that asks more than one question needs of a chat model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import conf
from coaches.client.openai_client import Answer
from coaches.prompting.prompt import Question

T = TypeVar("T")


class ChatModel(Protocol):
    """A model that answers one question at a time; safe to ask from several threads."""

    def ask(self, question: Question, schema: Mapping[str, Any], read: Callable[[str], T]) -> Answer[T]:
        """What ``read`` makes of the model's reply, which is JSON by the JSON Schema ``schema`` where the
        model keeps to it. ``read`` raises ``faults.ReplyError`` for a reply that says nothing.

        Raises:
            CoachError: there is no such reply, after all retries.
            BudgetError: there is no money left to ask with.
        """
        ...


def build(node: Mapping[str, Any] | None) -> ChatModel:
    """The chat model of a node in a coach's settings: a part of ``coaches`` that has ``ask``.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(node, Mapping) or "name" not in node:
        raise conf.ConfigError(f"a chat model is a node such as {{name: llm}}, not {node!r}")
    found = conf.build("coaches", conf.fill_defaults("coach", node))
    if not hasattr(found, "ask"):
        raise conf.ConfigError(f"{node['name']} is no chat model: it has no ask")
    return cast(ChatModel, found)

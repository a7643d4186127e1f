"""The chat model behind a coach that asks its own questions, as ``hindsight`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from coaches.client.openai_client import ParsedReply
from coaches.judging.inner import build as build_part
from coaches.prompting.prompt import Question
from conf import ConfigError

T = TypeVar("T")


@runtime_checkable
class ChatModel(Protocol):
    """A model that replies to one question at a time; thread-safe."""

    def ask(self, question: Question, schema: Mapping[str, Any], read: Callable[[str], T]) -> ParsedReply[T]:
        """Returns what ``read`` makes of the model's reply.

        The model is asked for JSON by the JSON Schema ``schema``, but may not comply. ``read`` raises
        ``coaches.client.errors.ReplyError`` for a reply that it cannot use.

        Raises:
            CoachError: there is no usable reply, after all retries.
            BudgetError: the budget is spent.
        """
        ...


def build(node: Any) -> ChatModel:
    """Returns the chat model of a node in a coach's settings: a coach that has ``ask``.

    Raises:
        ConfigError: there is none.
    """
    if node is None:
        raise ConfigError("a chat model is missing: name one with a node such as {name: llm}")
    model = build_part(node)
    if not isinstance(model, ChatModel):
        raise ConfigError(f"{node['name']} is not a chat model: it has no method ask")
    return model

"""How a run uses the chat template of a tokenizer: tried before it is needed, and without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from conf import ConfigError
from envs.types import Message
from learners.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CLOCK = datetime(2026, 1, 1, 12)
"""What a template that asks for the time is told (``strftime_now``), in every run and at every step: prompts
would otherwise depend on the day, and those of a resumed run would differ."""
OPENING = (Message("system", "## Role: first of two"), Message("user", "## Task: add the numbers"))
LATER = (*OPENING, Message("assistant", "print(1)"), Message("user", "## Result: printed 1"))
"""The forms of conversation that agents have (``envs.observations``)."""


class ChatTemplate:
    """Messages -> text or ids.

    A template that refuses the system role, or leaves its text out, gets that text at the head of the first
    user message. Neither ``tokenizer`` nor ``settings``, the template's extra arguments, are changed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: dict[str, Any], owner: str) -> None:
        """Tries the template. ``owner`` is named in messages.

        Raises:
            ConfigError: there is none, or it fails on, or leaves out, what agents read.
        """
        self._tokenizer = tokenizer
        self._settings = {"strftime_now": CLOCK.strftime} | settings
        self._owner = owner
        self.merges_system = False
        if tokenizer.chat_template is None:
            raise ConfigError(f"{owner}: its tokenizer needs a chat template")
        if (problem := self._problem()) is not None:
            self.merges_system = True
            if self._problem() is not None:
                raise ConfigError(f"{owner}: its chat template {problem}")

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Returns the token ids of a prompt.

        Raises:
            TrainingError: the template refuses these messages.
        """
        try:
            return list(self._apply(messages, tokenize=True))
        except Exception as error:  # whatever the template's author raises
            raise TrainingError(f"{self._owner}: its chat template fails: {_line(error)}") from error

    def _apply(self, messages: Sequence[Message], *, tokenize: bool) -> Any:
        given = merge_system(messages) if self.merges_system else messages
        chat = [{"role": message.role, "content": message.content} for message in given]
        return self._tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=tokenize, return_dict=False, **self._settings
        )

    def _problem(self) -> str | None:
        """Returns what is wrong with the template, if anything is."""
        for messages in (OPENING, LATER):
            try:
                text = self._apply(messages, tokenize=False)
            except Exception as error:  # whatever the template's author raises
                return f"fails: {_line(error)}"
            for message in messages:
                if message.role != "assistant" and message.content not in text:
                    return f"leaves out what the role {message.role!r} says"
        return None


def merge_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Returns ``messages`` with a system message at their head made part of the user message after it."""
    if len(messages) < 2 or (messages[0].role, messages[1].role) != ("system", "user"):
        return tuple(messages)
    system, first, *rest = messages
    return (replace(first, content=f"{system.content}\n\n{first.content}"), *rest)


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__

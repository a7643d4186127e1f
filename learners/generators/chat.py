"""Messages -> prompt ids, and sampled ids -> completion, for every generator that has the tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envs.types import Message
from learners.models.chat_template import ChatTemplate
from learners.types import Completion, ModelConfig

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

CUT_MARKER = "\n[... cut ...]\n"


class ChatFormat:
    """The chat template of a model and its limits for prompts; the weights are not needed.

    Args:
        tokenizer: of the model.
        config: its settings.
        stop: ids that end a turn.
        name: of the policy, for messages.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, config: ModelConfig, stop: frozenset[int], name: str
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.stop = stop
        self._name = name
        self._warned = False
        self._template = ChatTemplate(tokenizer, config.chat, name)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Returns the ids of the chat template.

        A prompt longer than ``max_prompt_tokens`` keeps its head and its tail around ``CUT_MARKER``: the
        system message and the task open it, the latest result ends it.

        Raises:
            TrainingError: the template refuses these messages.
        """
        ids = self._template.ids(messages)
        limit = self.config.max_prompt_tokens
        if len(ids) <= limit:
            return ids
        if not self._warned:
            log.warning(
                "%s: a prompt of %d tokens was cut in its middle to max_prompt_tokens=%d (said once)",
                self._name, len(ids), limit,
            )  # fmt: skip
            self._warned = True
        marker: list[int] = self.tokenizer.encode(CUT_MARKER, add_special_tokens=False)
        return cut_middle(ids, limit, marker)

    def completion(
        self, prompt: Sequence[int], token_ids: Sequence[int], logprobs: Sequence[float], version: int
    ) -> Completion:
        """Returns the completion of the sampled ids; if the last one is no stop id, it was truncated."""
        text = str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))
        # Some templates open the thought in the prompt: without the tag it would look like an answer.
        opened = str(self.tokenizer.decode(list(prompt[-8:]))).rstrip().endswith("<think>")
        return Completion(
            text="<think>\n" + text if opened else text,
            prompt_ids=tuple(prompt),
            token_ids=tuple(token_ids),
            logprobs=tuple(logprobs),
            weight_version=version,
            finish_reason="stop" if token_ids and token_ids[-1] in self.stop else "length",
        )


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig | None) -> frozenset[int]:
    """Returns the ids that end a turn: the tokenizer's and those of the model's generation config."""
    ids: set[int] = {int(tokenizer.eos_token_id)}
    configured = generation.eos_token_id if generation else None
    if configured is not None:
        ids.update([configured] if isinstance(configured, int) else configured)
    return frozenset(ids)


def cut_middle(ids: list[int], limit: int, marker: list[int]) -> list[int]:
    """Returns exactly ``limit`` ids: head, ``marker``, tail. Without the marker where it would not fit."""
    if len(marker) + 2 > limit:
        marker = []
    room = limit - len(marker)
    tail = room - room // 2
    return ids[: room // 2] + marker + ids[len(ids) - tail :]

"""Who samples for a policy, and what is asked of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer, GenerationConfig

from learners.generators.chat import ChatFormat, stop_ids
from learners.generators.vllm import weight_check
from learners.weights.base import Source

if TYPE_CHECKING:
    from learners.generators.vllm import VllmEngine


@dataclass(frozen=True)
class Adapter:
    name: str
    number: int
    folder: Path


def adapter_shape(folder: Path) -> tuple[int, frozenset[str]]:
    """The rank of a saved adapter, and the names of the kinds of layers that it changes."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return int(settings["r"]), frozenset(name.rpartition(".")[2] for name in settings["target_modules"])


@dataclass
class Served:
    """What samples for one policy."""

    source: Source
    engine: VllmEngine
    chat: ChatFormat
    tokens: Sequence[int]
    """The probe's prompt."""
    limit: int
    """Tokens of the longest completion."""
    adapter: Adapter | None = None
    version: int = 0
    checked: weight_check.Checked | None = None
    tokenizing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, source: Source, engine: VllmEngine, base: Path) -> Served:
        tokenizer = AutoTokenizer.from_pretrained(base)
        generation = (
            GenerationConfig.from_pretrained(base) if (base / "generation_config.json").exists() else None
        )
        chat = ChatFormat(tokenizer, source.config, stop_ids(tokenizer, generation), source.name)
        rows = int(json.loads((base / "config.json").read_text(encoding="utf-8"))["vocab_size"])
        tokens = weight_check.tokens(chat, min(rows, len(tokenizer)))
        return cls(source, engine, chat, tokens, source.config.max_new_tokens)


@dataclass(frozen=True)
class Request:
    prompt: Sequence[int]
    seed: int
    temperature: float
    limit: int
    stop: frozenset[int]
    served: Served
    whole: bool = False
    """Whether the prompt's own log-probabilities are wanted too."""


@dataclass(frozen=True)
class Answer:
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    version: int

"""How one policy is served: by which engine, with which tokenizer and weights."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import AutoTokenizer, GenerationConfig

from learners.base import Source
from learners.generators.chat import ChatFormat, stop_ids
from learners.generators.vllm import weight_check
from learners.generators.vllm.engine import VllmEngine
from learners.generators.vllm.requests import ServedWeights, TokenRequest


def adapter_shape(folder: Path) -> tuple[int, frozenset[str]]:
    """Returns the rank of a saved adapter, and the kinds of layers that it changes (ends of their names)."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return int(settings["r"]), frozenset(name.rpartition(".")[2] for name in settings["target_modules"])


@dataclass
class ServedPolicy:
    """What samples for one policy."""

    source: Source
    engine: VllmEngine
    chat: ChatFormat
    probe: Sequence[int]
    """The prompt of the weight check."""
    limit: int
    """Tokens of the longest completion."""
    shared: bool = False
    """Whether new weights come over CUDA IPC; else in files."""
    weights: ServedWeights = field(default_factory=ServedWeights)
    checked: weight_check.Checked | None = None
    """The last weight check that passed."""
    tokenizing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def from_base(cls, source: Source, engine: VllmEngine, base: Path) -> ServedPolicy:
        """Reads tokenizer and settings from the folder of the model that ``engine`` has loaded."""
        tokenizer = AutoTokenizer.from_pretrained(base)
        generation = (
            GenerationConfig.from_pretrained(base) if (base / "generation_config.json").exists() else None
        )
        chat = ChatFormat(tokenizer, source.config, stop_ids(tokenizer, generation), source.name)
        rows = int(json.loads((base / "config.json").read_text(encoding="utf-8"))["vocab_size"])
        probe = weight_check.tokens(chat, min(rows, len(tokenizer)))
        return cls(source, engine, chat, probe, source.config.max_new_tokens)

    def probe_request(self) -> TokenRequest:
        """Returns the request of the weight check."""
        limit = min(weight_check.SAMPLED, self.limit)
        return TokenRequest(
            self.probe, weight_check.SEED, 1.0, limit, frozenset(), self.weights, prompt_logprobs=True
        )

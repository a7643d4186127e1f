"""Models with random weights, made on their device: nothing is downloaded or passes through the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM

import conf
from benchmarks.update.building import placeholder_tokenizer
from conf.commands import compose
from learners.base import ModelKind
from learners.config import RunConfig
from learners.models.base import prepare_model, resolve_device
from learners.types import LoadedModel

TOY_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}


@dataclass(frozen=True)
class Shape:
    """Qwen3-4B's shape, or a tiny one of the same kind, and the longest row."""

    toy: bool
    weights: str
    """``adapter`` or ``full``."""
    dtype: str
    prompt: int
    completion: int

    def config(self) -> RunConfig:
        """Returns the configuration of a run that would train it on one GPU."""
        changes: dict[str, object] = {
            "dtype": self.dtype,
            "max_prompt_tokens": self.prompt,
            "max_new_tokens": self.completion,
            "optimizer.warmup_steps": 0,
        }
        if self.toy:
            changes |= {f"architecture.{key}": value for key, value in TOY_SHAPE.items()}
            changes["update_tokens"] = 256
        model = [f"model.{key}={value}" for key, value in changes.items()]
        parts = ["env=dsbench", "model=qwen3-4b", f"weights={self.weights}", "policies=shared"]
        return RunConfig.read(compose([*parts, *model]))


class RandomModel:
    """See ``learners.base.ModelKind``; ``seed`` decides the weights."""

    def __init__(self, kind: ModelKind) -> None:
        """``kind`` says which architecture and settings."""
        self.config = kind.config
        self.architecture = kind.architecture

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """Makes the weights in their dtype; raises as ``prepare_model``."""
        device = resolve_device(self.config.device)
        torch.manual_seed(seed)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                self.architecture(), dtype=getattr(torch, self.config.dtype)
            )
        return prepare_model(model, placeholder_tokenizer(), self.config)


def random_model(config: RunConfig) -> RandomModel:
    """Returns the kind of model that ``config`` names, with random weights."""
    return RandomModel(conf.build("learners.models", config.model))


def ids(count: int, vocab: int, seed: int) -> Sequence[int]:
    """Returns random token ids, none of which is special."""
    numbers = torch.Generator().manual_seed(seed)
    drawn: list[int] = torch.randint(3, vocab, (count,), generator=numbers).tolist()
    return drawn

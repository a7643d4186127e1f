"""The sizes of a model, read from the real one without its weights: it is built on the ``meta`` device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from conf import ConfigError


@dataclass(frozen=True)
class Linear:
    """A matrix of a layer; an adapter on it has ``rank * (inputs + outputs)`` parameters."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Shapes:
    """Of a decoder-only transformer with equal layers, a gated MLP, and grouped keys and values."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    normed_heads: bool
    """Whether queries and keys are normalised head by head (Qwen3)."""
    layer: int
    """Parameters of one layer."""
    outside: int
    """Parameters outside of layers: embedding, last norm, and the output head unless it is tied."""
    linears: tuple[Linear, ...]
    """Of one layer."""

    @property
    def parameters(self) -> int:
        """Of the whole model, tied ones once."""
        return self.layers * self.layer + self.outside

    @property
    def queries(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together."""
        return self.kv_heads * self.head_dim

    def adapter(self, rank: int, targets: Sequence[str]) -> int:
        """Parameters of one LoRA; ``targets`` as ``weights.targets`` has them."""
        chosen = [one for one in self.linears if list(targets) == ["all-linear"] or one.name in targets]
        if not chosen:
            known = ", ".join(one.name for one in self.linears)
            raise ConfigError(f"weights.targets names no layer of the model; it has: {known}")
        return self.layers * rank * sum(one.inputs + one.outputs for one in chosen)

    def cache(self, element: int) -> int:
        """Bytes of keys and values of one token, of ``element`` bytes each."""
        return 2 * self.layers * self.keys * element


def meta_model(config: PreTrainedConfig) -> PreTrainedModel:
    """The model that ``config`` describes, with shapes and no storage."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return model


def read_shapes(config: PreTrainedConfig) -> Shapes:
    """The sizes of the model that ``config`` describes.

    Raises:
        ConfigError: it is of a kind that these formulas do not describe: layers that differ, or no gated MLP.
    """
    model = meta_model(config)
    blocks = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in blocks]
    counts = {_count(layer) for layer in layers}
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if len(counts) != 1 or not {"q_proj", "gate_proj"} <= names:
        raise ConfigError(
            f"plan knows models of equal layers with a gated MLP, and not {config.model_type!r}"
        )
    layer, whole = counts.pop(), _count(model)
    facts: Any = config
    return Shapes(
        layers=len(layers),
        hidden=facts.hidden_size,
        intermediate=facts.intermediate_size,
        heads=facts.num_attention_heads,
        kv_heads=facts.num_key_value_heads,
        head_dim=getattr(facts, "head_dim", None) or facts.hidden_size // facts.num_attention_heads,
        vocab=facts.vocab_size,
        normed_heads="q_norm" in names,
        layer=layer,
        outside=whole - len(layers) * layer,
        linears=tuple(
            Linear(name.rpartition(".")[2], module.in_features, module.out_features)
            for name, module in layers[0].named_modules()
            if isinstance(module, nn.Linear)
        ),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

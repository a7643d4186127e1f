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
    """A weight matrix of a layer; an adapter on it has ``rank * (inputs + outputs)`` parameters."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Shapes:
    """Sizes of a decoder-only transformer with equal layers, a gated MLP, and grouped keys and values."""

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
    """Parameters outside of the layers: embedding, last norm, and the output head unless it is tied."""
    linears: tuple[Linear, ...]
    """The matrices of one layer."""

    @property
    def parameters(self) -> int:
        """Parameters of the whole model; tied ones count once."""
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
        """Returns the parameters of one LoRA adapter.

        ``targets`` is as in ``weights.targets``.

        Raises:
            ConfigError: ``targets`` names no matrix of the model.
        """
        chosen = [
            linear for linear in self.linears if list(targets) == ["all-linear"] or linear.name in targets
        ]
        if not chosen:
            known = ", ".join(linear.name for linear in self.linears)
            raise ConfigError(f"weights.targets names no layer of the model; it has: {known}")
        return self.layers * rank * sum(linear.inputs + linear.outputs for linear in chosen)

    def cache(self, element: int) -> int:
        """Returns the bytes of one token's keys and values; ``element``: bytes of a number."""
        return 2 * self.layers * self.keys * element


def meta_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Returns the model that ``config`` describes, with shapes and no storage."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return model


def read_shapes(config: PreTrainedConfig) -> Shapes:
    """Returns the sizes of the model that ``config`` describes.

    Raises:
        ConfigError: the formulas here do not fit the model: its layers differ, or have no gated MLP.
    """
    model = meta_model(config)
    blocks = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in blocks]
    counts = {_count(layer) for layer in layers}
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if len(counts) != 1 or not {"q_proj", "gate_proj"} <= names:
        raise ConfigError(
            f"only models with equal layers and a gated MLP can be planned, not {config.model_type!r}"
        )
    layer = counts.pop()
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
        outside=_count(model) - len(layers) * layer,
        linears=tuple(
            Linear(name.rpartition(".")[2], module.in_features, module.out_features)
            for name, module in layers[0].named_modules()
            if isinstance(module, nn.Linear)
        ),
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

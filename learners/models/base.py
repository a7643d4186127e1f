"""What every kind of model shares: its settings, and what loading one gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from conf import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16")
SCHEDULES = ("constant", "cosine")


@dataclass
class Optimizer:
    """AdamW and how often it steps."""

    lr: float
    betas: list[float]
    weight_decay: float
    max_grad_norm: float
    warmup_steps: int
    """Optimiser steps over which the rate rises linearly from 0 to ``lr``."""
    schedule: str
    """``constant``, or ``cosine`` down to a tenth of ``lr`` at the end of the run."""
    minibatches: int
    """Optimiser steps that one batch of rows is split into."""
    epochs: int
    """How often each row is trained on."""

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ConfigError(
                f"optimizer.schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}"
            )
        if len(self.betas) != 2:
            raise ConfigError(f"optimizer.betas must be two numbers, not {self.betas}")
        if self.minibatches < 1 or self.epochs < 1:
            raise ConfigError("optimizer.minibatches and optimizer.epochs must be at least 1")


@dataclass
class ModelConfig:
    """Settings that every kind has; a kind's own ``Config`` inherits from this one and adds its own."""

    dtype: str
    """Of the weights: ``float32`` or ``bfloat16``."""
    autocast: bool
    """Compute in bfloat16 whatever the weights are, in generation and in updates alike."""
    head_float32: bool
    """Compute logits in float32, under autocast too."""
    gradient_checkpointing: bool
    device: str
    """``auto`` (a GPU when there is one), or a torch device such as ``cpu`` or ``cuda:1``."""
    max_prompt_tokens: int
    """A longer prompt loses its middle (the generator says how) and is counted."""
    max_new_tokens: int
    """A completion that reaches this is cut off there: its ``finish_reason`` is ``length``."""
    update_tokens: int
    """Tokens, padding included, that one micro-batch of an update holds; a longer row stands alone."""
    chat: dict[str, Any]
    """Extra arguments of the chat template, e.g. ``enable_thinking: false``."""
    optimizer: Optimizer

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"model.dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if min(self.max_prompt_tokens, self.max_new_tokens, self.update_tokens) < 1:
            raise ConfigError("model.max_prompt_tokens, max_new_tokens and update_tokens must be at least 1")


@dataclass(frozen=True)
class LoadedModel:
    """One agent's weights, ready to act and to learn: in eval mode, on its device, attention ``sdpa``."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    """Has a chat template and an end-of-turn token (``eos_token``)."""
    config: ModelConfig

    @property
    def chat(self) -> Mapping[str, Any]:
        """Extra arguments of the chat template."""
        return self.config.chat

    @property
    def device(self) -> torch.device:
        return self.model.device


class ModelKind(Protocol):
    """The class that a module of ``learners.models`` exports: ``Kind(config).load(env_name, seed)``."""

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """Weights and tokenizer, the same for the same arguments; every call gives an independent copy.

        ``env_name`` and ``seed`` matter to kinds that make their own weights.

        Raises:
            ConfigError: the model cannot be had, in one clear line.
        """
        ...


class DescribedKind(ModelKind, Protocol):
    """One that ``learners.plan`` can plan with."""

    def architecture(self) -> PreTrainedConfig:
        """What the model is built of: no weights are read, and no model is made.

        Raises:
            ConfigError: that is not known.
        """
        ...


def resolve_device(name: str) -> str:
    """``auto`` -> ``cuda`` when torch sees a GPU, else ``cpu``; any other name as it is."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def release() -> None:
    """Gives freed GPU memory back: an engine on the same GPU could not have what torch keeps of it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def finish(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: ModelConfig) -> LoadedModel:
    """Moves a model to its device and dtype and checks that generator and updater can deal with it.

    Raises:
        ConfigError: no chat template, too short a context or attention window, or an output head that is
            more than a matrix, which updates would get wrong.
    """
    import torch

    name = model.config.name_or_path or type(model).__name__
    context = getattr(model.config, "max_position_embeddings", None)
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    wanted = config.max_prompt_tokens + config.max_new_tokens
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        raise ConfigError(f"model {name}: its tokenizer needs a chat template and an end-of-turn token")
    if context is not None and wanted > context:
        raise ConfigError(
            f"model {name}: max_prompt_tokens + max_new_tokens = {wanted} exceeds its context of {context}"
        )
    special = ("final_logit_softcapping", "logits_scaling", "logit_scale")
    if (
        not isinstance(head, torch.nn.Linear)
        or head.bias is not None
        or any(getattr(model.config, key, None) not in (None, 1, 1.0) for key in special)
    ):
        raise ConfigError(f"model {name}: only a plain linear output head without bias can be trained")
    window = getattr(model.config, "sliding_window", None)
    if window is not None and window < wanted:
        raise ConfigError(
            f"model {name}: a prompt and completion of {wanted} tokens exceed its attention window {window}"
        )
    for module in model.modules():  # the policy that learns must be the one that acted: no dropout
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    model.set_attn_implementation("sdpa")
    model.to(device=resolve_device(config.device), dtype=getattr(torch, config.dtype))
    return LoadedModel(model.eval(), tokenizer, config)

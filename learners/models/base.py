"""What every kind of model shares: device, checks and preparation of a loaded model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from conf import ConfigError
from learners.base import ModelKind
from learners.types import LoadedModel, ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


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


def empty_cache() -> None:
    """Gives freed GPU memory back: an engine on the same GPU could not have what torch keeps of it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def prepare_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: ModelConfig
) -> LoadedModel:
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

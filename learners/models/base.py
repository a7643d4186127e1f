"""What the kinds of models share: choosing the device, and checking and preparing a loaded model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from conf import ConfigError
from learners.models.chat_template import ChatTemplate
from learners.types import LoadedModel, ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


def resolve_device(name: str) -> str:
    """Returns ``cuda`` (if torch sees a GPU) or ``cpu`` for ``auto``, and any other name unchanged.

    Raises:
        ConfigError: torch knows no such device, or sees no such GPU.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"model.device must be auto or a torch device, not {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"model.device={name}, but torch sees {torch.cuda.device_count()} GPUs here")
    return name


def empty_cache() -> None:
    """Gives freed GPU memory back: an engine on the same GPU could not have what torch keeps of it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_context(name: str, config: ModelConfig, context: int) -> None:
    """Raises ``ConfigError`` if the longest prompt and completion exceed a model's ``context``, in tokens."""
    needed = config.max_prompt_tokens + config.max_new_tokens
    if needed > context:
        raise ConfigError(
            f"model {name}: max_prompt_tokens + max_new_tokens = {needed} exceeds its context of {context}"
        )


def prepare_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: ModelConfig
) -> LoadedModel:
    """Moves a model to its device and data type, and checks that generator and updater can handle it.

    Raises:
        ConfigError: the tokenizer has no chat template that agents can use, the context or attention window
            is too short, updates cannot use its attention (``learners.models.attention.install``), or the
            output head is more than a matrix, which they would compute wrongly.
    """
    import torch

    from learners.models.attention import install

    name = model.config.name_or_path or type(model).__name__
    context = getattr(model.config, "max_position_embeddings", None)
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    needed = config.max_prompt_tokens + config.max_new_tokens
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"model {name}: its tokenizer needs an end-of-turn token")
    ChatTemplate(tokenizer, config.chat, f"model {name}")
    if context is not None:
        check_context(name, config, context)
    more_than_a_matrix = ("final_logit_softcapping", "logits_scaling", "logit_scale")
    if (
        not isinstance(head, torch.nn.Linear)
        or head.bias is not None
        or any(getattr(model.config, key, None) not in (None, 1, 1.0) for key in more_than_a_matrix)
    ):
        raise ConfigError(f"model {name}: only a plain linear output head without bias can be trained")
    window = getattr(model.config, "sliding_window", None)
    if window is not None and window < needed:
        raise ConfigError(
            f"model {name}: a prompt and completion of {needed} tokens exceed its attention window {window}"
        )
    for module in model.modules():  # no dropout: the policy that learns must be the one that acted
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    _keep_savable(model, name)
    install(model, name)
    model.to(resolve_device(config.device))
    for parameter in model.parameters():  # not buffers: rounded rotary frequencies are other positions
        parameter.data = parameter.data.to(getattr(torch, config.dtype))
    return LoadedModel(model.eval(), tokenizer, config)


def _keep_savable(model: PreTrainedModel, name: str) -> None:
    """Reduces a generation config that ``transformers`` reads but refuses to write to its token ids."""
    from transformers import GenerationConfig

    given = model.generation_config
    if given is None:
        return
    try:
        given.validate(strict=True)
    except ValueError:
        log.warning("model %s: its generation config contradicts itself; its token ids alone are kept", name)
        ids = {key: getattr(given, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = GenerationConfig(**ids)  # type: ignore[no-untyped-call]

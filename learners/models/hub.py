"""Any causal LM in the ``transformers`` format: a hub id, or a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging

from conf import ConfigError
from learners.models.base import prepare_model
from learners.types import LoadedModel, ModelConfig


class Hub:
    """Weights as published; ``env_name`` and ``seed`` change nothing."""

    @dataclass
    class Config(ModelConfig):
        path: str
        """A folder, or a hub id such as ``Qwen/Qwen3-4B``; ``~`` is expanded."""
        revision: str | None
        """Commit, tag or branch on the hub."""
        architecture: dict[str, Any] | None
        """What the model's ``config.json`` is known to say, ``model_type`` among it: a plan then asks no hub,
        and a model that says otherwise is refused. None: its own word is taken."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """Raises ``ConfigError`` when there is no such folder, and the hub cannot give the model either; or
        when the model is not of the ``architecture`` that the settings name."""
        loaded = from_pretrained(self.config.path, self.config, revision=self.config.revision)
        check_architecture(self.config.path, loaded.model.config, self.config.architecture or {})
        return loaded

    def architecture(self) -> PreTrainedConfig:
        """As the settings name it, else as the folder or the hub has it; no weights are read."""
        facts = dict(self.config.architecture or {})
        if not facts:
            return architecture_of(self.config.path, revision=self.config.revision)
        kind = facts.pop("model_type", None)
        try:
            return AutoConfig.for_model(kind, **facts)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"model.architecture: {str(error).splitlines()[0]}") from error


def architecture_of(path: str | Path, *, revision: str | None = None) -> PreTrainedConfig:
    """What ``config.json`` of a folder or of the hub says. Raises ``ConfigError`` when there is none."""
    where = _find(str(path), revision)
    try:
        found: PreTrainedConfig = AutoConfig.from_pretrained(where, revision=revision)
    except (OSError, ValueError) as error:
        raise _missing(where, error) from error
    return found


def check_architecture(path: str, config: PreTrainedConfig, facts: Mapping[str, Any]) -> None:
    """Raises ``ConfigError`` where the model's own ``config`` says otherwise than ``facts``."""
    for key, value in facts.items():
        found = getattr(config, key, None)
        if found != value:
            raise ConfigError(
                f"model {path} has {key}={found}, but model.architecture says {value}: "
                "for another model, set model.architecture=null"
            )


def from_pretrained(path: str | Path, config: ModelConfig, *, revision: str | None = None) -> LoadedModel:
    """Loads model and tokenizer. Raises ``ConfigError``, in one line, when they cannot be had."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = _find(str(path), revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(
            where, revision=revision, dtype=getattr(torch, config.dtype)
        )
    except (OSError, ValueError) as error:  # damaged, gated, or no model of a known kind
        raise _missing(where, error) from error
    return prepare_model(model, tokenizer, config)


def _find(path: str, revision: str | None) -> str:
    """A folder, or an id that the cache or the hub knows: asked once, where loading would retry for long."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder)
    if path.startswith(("/", "~", ".")):
        raise ConfigError(f"model {path}: there is no such folder")
    try:
        if not isinstance(try_to_load_from_cache(path, "config.json", revision=revision), str):
            HfApi().model_info(path, revision=revision, timeout=10)
    except Exception as error:  # the hub's client lets its transport's many errors through
        raise _missing(path, error) from error
    return path


def _missing(path: str, error: Exception) -> ConfigError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return ConfigError(f"model {path} cannot be loaded: {reason}")

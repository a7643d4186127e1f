"""One frozen base for all policies, and one LoRA adapter (arXiv 2106.09685) each."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import Parameter

from conf import ConfigError
from learners.base import ModelKind
from learners.models.base import empty_cache
from learners.rollout.seeds import derive_seed
from learners.types import Batch, Completion, LoadedModel, ModelConfig
from learners.update.logprobs import batch_logprobs, completion_logprobs
from learners.weights.base import check_origin, fingerprint


class Adapter:
    """Trains adapters only: three policies need little more memory than one.

    The base with adapters disabled is every policy's KL reference, at no cost. A new adapter changes nothing:
    its second factor is 0. There is no dropout, because the policy that learns must be the one that acted.
    """

    shares_base = True

    @dataclass
    class Config:
        rank: int
        alpha: float
        """The product of the two factors is scaled by alpha / rank."""
        targets: list[str]
        """Name endings of the layers to adapt; ``[all-linear]``: all but the output head."""

        def __post_init__(self) -> None:
            if self.rank < 1 or self.alpha <= 0 or not self.targets:
                raise ConfigError(
                    "weights.rank must be at least 1, weights.alpha above 0, and targets not empty"
                )

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(
        self, kind: ModelKind, names: Sequence[str], env_name: str, seed: int, *, reference: bool
    ) -> dict[str, AdapterWeights]:
        """Loads one base with an adapter per policy in ``names``; the base is always a reference.

        Raises:
            ConfigError: the model is not available, or has none of the target layers.
        """
        loaded = kind.load(env_name, seed)
        origin = fingerprint(loaded.model)
        for name in names:
            _inject(loaded, name, self.config, derive_seed(seed, "adapter", name))
        empty_cache()
        lock = threading.RLock()
        return {name: AdapterWeights(name, loaded, origin=origin, lock=lock) for name in names}


class AdapterWeights:
    """See ``learners.base.Weights``; ``lock`` belongs to the base: one adapter is active at a time."""

    adapter = True

    def __init__(self, name: str, loaded: LoadedModel, *, origin: float, lock: threading.RLock) -> None:
        self.name = name
        self.loaded = loaded
        self._origin = origin
        self._lock = lock
        infix = f".{name}."
        self._named = {
            key: p for key, p in loaded.model.named_parameters() if infix in key and "lora_" in key
        }

    @property
    def config(self) -> ModelConfig:
        return self.loaded.config

    @contextmanager
    def active(self) -> Iterator[LoadedModel]:
        model: Any = self.loaded.model
        with self._lock:
            before = model.active_adapters()
            model.set_adapter(self.name)
            try:
                yield self.loaded
            finally:
                model.set_adapter(before)

    @contextmanager
    def reference(self) -> Iterator[LoadedModel]:
        model: Any = self.loaded.model
        with self._lock:
            model.disable_adapters()
            try:
                yield self.loaded
            finally:
                model.enable_adapters()

    def score(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return batch_logprobs(self.loaded.model, batch, self.loaded.config)

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        with self.active() as loaded:
            return completion_logprobs(loaded.model, completions, loaded.config)

    def shard(self) -> bool:
        return False  # the base is frozen, and an adapter is small

    def parameters(self) -> list[Parameter]:
        return list(self._named.values())

    def state(self) -> Mapping[str, Any]:
        return {"model": {key: p.detach() for key, p in self._named.items()}, "origin": self._origin}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_origin(self.name, state, self._origin)
        shapes = {key: values.shape for key, values in state["model"].items()}
        if shapes != {key: p.shape for key, p in self._named.items()}:
            raise ConfigError(f"the checkpoint of {self.name} has an adapter of another shape")
        with torch.no_grad():
            for key, values in state["model"].items():
                self._named[key].copy_(values)

    def save(self, folder: Path) -> None:
        model: Any = self.loaded.model
        folder.mkdir(parents=True, exist_ok=True)
        state = model.get_adapter_state_dict(self.name)
        tensors = {f"base_model.model.{key}": value.contiguous().cpu() for key, value in state.items()}
        save_file(tensors, folder / "adapter_model.safetensors")
        model.peft_config[self.name].save_pretrained(folder)
        self.loaded.tokenizer.save_pretrained(folder)

    def save_base(self, folder: Path) -> None:
        self._save_plain(self._base(), folder)

    def save_merged(self, folder: Path) -> None:
        self._save_plain(self._merged(), folder)

    def _save_plain(self, tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
        """Writes a model with the architecture of the base and these weights."""
        model: Any = self.loaded.model
        with torch.device("meta"):
            plain = type(model)(model.config)
        plain.load_state_dict(tensors, assign=True)
        plain.tie_weights()
        plain.generation_config = model.generation_config
        plain.save_pretrained(folder)
        self.loaded.tokenizer.save_pretrained(folder)

    def _base(self) -> dict[str, torch.Tensor]:
        """The weights of the base, under their names without adapters."""
        return {
            key.replace(".base_layer.", "."): value
            for key, value in self.loaded.model.state_dict().items()
            if ".lora_" not in key
        }

    @torch.no_grad()
    def _merged(self) -> dict[str, torch.Tensor]:
        """The weights of the base with the adapter's product added, in the dtype of the base."""
        model = self.loaded.model
        weights = self._base()
        for path, layer in model.named_modules():
            if self.name in getattr(layer, "lora_A", ()):
                weight = weights[f"{path}.weight"]
                delta: torch.Tensor = layer.get_delta_weight(self.name)
                weights[f"{path}.weight"] = (weight.float() + delta).to(weight.dtype)
        return weights


def _inject(loaded: LoadedModel, name: str, config: Adapter.Config, seed: int) -> None:
    from peft import LoraConfig  # takes seconds, and full weights do not need it

    targets: Any = "all-linear" if config.targets == ["all-linear"] else config.targets
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        target_modules=targets,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
        base_model_name_or_path=loaded.model.config.name_or_path,
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # peft warns of several adapters; we want several
        torch.manual_seed(seed)
        try:
            loaded.model.add_adapter(settings, adapter_name=name)
        except ValueError as error:
            raise ConfigError(f"weights adapter: {str(error).splitlines()[0]}") from None
    for key, parameter in loaded.model.named_parameters():
        if f".{name}." in key:  # in bfloat16, small steps would round to nothing
            parameter.data = parameter.data.float()

"""One frozen base for all policies, and one LoRA adapter (arXiv 2106.09685) each."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import Parameter

from conf import ConfigError
from conf.ranges import Count, Positive
from learners.base import ModelKind
from learners.models.base import empty_cache
from learners.seeds import derive_seed
from learners.types import Batch, Completion, Lent, LoadedModel, ModelConfig, Place, Shared
from learners.update.logprobs import batch_logprobs, completion_logprobs
from learners.update.state_file import copy_into
from learners.weights.base import cast, check_origin, fingerprint, total_bytes
from learners.weights.lending import lent
from learners.weights.scratch import check_room


class Adapter:
    """Trains adapters only: three policies need little more memory than one.

    The base with adapters disabled is every policy's KL reference, at no cost. A new adapter changes nothing:
    its second factor is 0. There is no dropout, because the policy that learns must be the one that acted.
    """

    shares_base = True

    @dataclass
    class Config:
        rank: Count
        alpha: Positive
        """The product of the two factors is scaled by alpha / rank."""
        targets: list[str]
        """Name endings of the layers to adapt; ``[all-linear]``: all but the output head."""

        def __post_init__(self) -> None:
            if not self.targets:
                raise ConfigError("weights.targets must not be empty")

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
        base = Base(loaded, dict(loaded.model.named_parameters()), loaded.model.state_dict())
        for number, name in enumerate(names):
            _inject(loaded, _label(number), self.config, derive_seed(seed, "adapter", name))
        empty_cache()
        return {name: AdapterWeights(name, base, _label(number)) for number, name in enumerate(names)}


@dataclass(frozen=True)
class Base:
    """The model that all adapters change."""

    loaded: LoadedModel
    parameters: Mapping[str, Parameter]
    """Its own, by their names without adapters; frozen."""
    state: Mapping[str, torch.Tensor]
    """Its own parameters and buffers, by the same names, under each of which a tied one is listed."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """One adapter is active at a time."""

    @cached_property
    def origin(self) -> str:
        """The fingerprint of its weights."""
        return fingerprint(self.parameters.items())


class AdapterWeights:
    """See ``learners.base.Weights``.

    Args:
        name: of the policy; any text.
        base: the model, with all adapters in place.
        label: of the policy's adapter in the model. Names of policies cannot be labels: ``peft`` makes them
            part of the names of modules, where ``a.b`` is two modules and ``mlp`` is one of many.
    """

    adapter = True

    def __init__(self, name: str, base: Base, label: str) -> None:
        self.name = name
        self.loaded = base.loaded
        self._base = base
        self._label = label
        self._factors = dict(_factors(base.loaded.model, label))

    @property
    def config(self) -> ModelConfig:
        return self.loaded.config

    @contextmanager
    def active(self) -> Iterator[LoadedModel]:
        model: Any = self.loaded.model
        with self._base.lock:
            before = model.active_adapters()
            model.set_adapter(self._label)
            try:
                yield self.loaded
            finally:
                model.set_adapter(before)

    @contextmanager
    def reference(self) -> Iterator[LoadedModel]:
        model: Any = self.loaded.model
        with self._base.lock:
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
        return list(self._factors.values())

    def state(self) -> Mapping[str, Any]:
        return {"model": {key: p.detach() for key, p in self._factors.items()}, "origin": self._base.origin}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_origin(self.name, state, self._base.origin, self._base.parameters.items())
        saved = _without_name(state["model"], self.name, self._factors)
        if {key: value.shape for key, value in saved.items()} != {
            k: p.shape for k, p in self._factors.items()
        }:
            raise ConfigError(f"the checkpoint of {self.name} has an adapter of another shape")
        for key, value in saved.items():
            copy_into(self._factors[key], value)

    def save(self, folder: Path) -> None:
        self._save_adapter(folder)
        self.loaded.tokenizer.save_pretrained(folder)

    def lend(self, root: Path | None, *, base: bool = False) -> AbstractContextManager[Lent]:
        return lent(self, root, base=base)

    def places(self) -> Sequence[Place]:
        return ()

    def share(self) -> Iterator[Shared]:
        raise ValueError(f"the adapter {self.name} is lent, not shared")

    def save_for_engines(self, folder: Path | None, *, base: bool = False) -> None:
        if folder is None:  # every process has whole weights
            return
        if base:
            state = cast(self._base.state, getattr(torch, self.config.sampling_dtype))
            check_room(folder, total_bytes(state), f"the base of {self.name}")
            self._save_plain(state, folder)
        else:
            check_room(folder, total_bytes(self._factors), f"the adapter of {self.name}")
            self._save_adapter(folder)

    def _save_adapter(self, folder: Path) -> None:
        model: Any = self.loaded.model
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"base_model.model.{key}": p.detach().contiguous().cpu() for key, p in self._factors.items()
        }
        save_file(tensors, folder / "adapter_model.safetensors")
        model.peft_config[self._label].save_pretrained(folder)

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

    @torch.no_grad()
    def _merged(self) -> dict[str, torch.Tensor]:
        """The weights of the base with the adapter's product added, in the dtype of the base."""
        weights = dict(self._base.state)
        for path, layer in _adapted(self.loaded.model):
            weight = weights[f"{path}.weight"]
            delta: torch.Tensor = layer.get_delta_weight(self._label)
            weights[f"{path}.weight"] = (weight.float() + delta).to(weight.dtype)
        return weights


def _label(number: int) -> str:
    return f"adapter_{number}"


def _adapted(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yields the layers that have adapters, and their paths."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in model.named_modules():
        if isinstance(layer, BaseTunerLayer):
            yield path, layer


def _factors(model: torch.nn.Module, label: str) -> Iterator[tuple[str, Parameter]]:
    """Yields the matrices of one adapter; their names do not contain the label."""
    for path, layer in _adapted(model):
        for factor in ("lora_A", "lora_B"):
            yield f"{path}.{factor}.weight", getattr(layer, factor)[label].weight


def _without_name(
    saved: Mapping[str, torch.Tensor], name: str, known: Iterable[str]
) -> Mapping[str, torch.Tensor]:
    """Returns ``saved`` under the names of today: they once had the policy's name before the last dot."""
    former = {f"{key.removesuffix('.weight')}.{name}.weight": key for key in known}
    return {former.get(key, key): value for key, value in saved.items()}


def _inject(loaded: LoadedModel, label: str, config: Adapter.Config, seed: int) -> None:
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
            loaded.model.add_adapter(settings, adapter_name=label)
        except ValueError as error:
            raise ConfigError(f"weights adapter: {str(error).splitlines()[0]}") from None
    head: Any = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    for path, layer in _adapted(loaded.model):
        if layer is head or not isinstance(layer.get_base_layer(), torch.nn.Linear):
            raise ConfigError(f"weights adapter: {path} cannot be adapted, only linear layers below the head")
    for _, factor in _factors(loaded.model, label):  # in bfloat16, small steps would round to nothing
        factor.data = factor.data.float()

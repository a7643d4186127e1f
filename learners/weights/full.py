"""Every policy has a whole model of its own."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import Parameter

from conf import ConfigError
from learners.base import ModelKind
from learners.models.base import empty_cache
from learners.types import Batch, Completion, Lent, LoadedModel, ModelConfig, Place, Shared
from learners.update import fsdp
from learners.update.logprobs import score_completions
from learners.update.state_file import copy_into
from learners.weights.base import Named, cast, check_origin, fingerprint, total_bytes
from learners.weights.lending import lent
from learners.weights.scratch import check_room
from learners.weights.sharing import place, share, whole


class Full:
    """Trains all weights. A policy has weights, gradients, two moments and, for a KL term, a frozen copy."""

    shares_base = False

    @dataclass
    class Config:
        offload_reference: bool
        """Keep the frozen copy in host memory, and move it to the device only while it computes."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(
        self, kind: ModelKind, names: Sequence[str], env_name: str, seed: int, *, reference: bool
    ) -> dict[str, FullWeights]:
        """Loads the weights of each policy in ``names``; raises as ``kind.load``."""
        offload = self.config.offload_reference
        weights = {
            name: FullWeights(name, kind.load(env_name, seed), reference=reference, offload=offload)
            for name in names
        }
        empty_cache()
        return weights


class FullWeights:
    """See ``learners.base.Weights``.

    The reference is not part of ``state``: loading the model again recreates it.
    """

    adapter = False

    def __init__(self, name: str, loaded: LoadedModel, *, reference: bool, offload: bool = False) -> None:
        self.name = name
        self.loaded = loaded
        self._home = torch.device("cpu") if offload else loaded.device
        self._lock = threading.RLock()
        self._scorer = fsdp.Scorer(loaded.model, loaded.config)
        self._frozen = copy.deepcopy(loaded.model).requires_grad_(False) if reference else None
        self._origin = fingerprint(self._initial()) if self._frozen is not None else None
        if self._frozen is not None:
            _move(self._frozen, self._home)

    @property
    def config(self) -> ModelConfig:
        return self.loaded.config

    @contextmanager
    def active(self) -> Iterator[LoadedModel]:
        with self._lock:
            yield self.loaded

    @contextmanager
    def reference(self) -> Iterator[LoadedModel]:
        if self._frozen is None:
            raise ValueError(f"the policy {self.name} was built without a reference")
        with self._lock:
            _move(self._frozen, self.loaded.device)
            try:
                yield replace(self.loaded, model=self._frozen)
            finally:
                _move(self._frozen, self._home)

    def score(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        scored: tuple[torch.Tensor, torch.Tensor] = self._scorer(batch)
        return scored

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        with self.active():
            logprobs = score_completions(self.score, completions, self.config.update_tokens)
            fsdp.reshard(self._scorer)
        return logprobs

    def parameters(self) -> list[Parameter]:
        return [p for p in self.loaded.model.parameters() if p.requires_grad]

    def shard(self) -> bool:
        fsdp.shard(self._scorer)
        return True

    def state(self) -> Mapping[str, Any]:
        return {"model": fsdp.full_state(self.loaded.model.state_dict()), "origin": self._origin}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_origin(self.name, state, self._origin, self._initial())
        own, saved = self.loaded.model.state_dict(), state["model"]
        if {key: value.shape for key, value in saved.items()} != {k: v.shape for k, v in own.items()}:
            raise ConfigError(f"the checkpoint of {self.name} has a model of another shape")
        for key, value in saved.items():
            copy_into(own[key], value)

    def _initial(self) -> Named:
        return self._frozen.named_parameters() if self._frozen is not None else ()

    def save(self, folder: Path) -> None:
        self.loaded.model.save_pretrained(folder, state_dict=dict(self.state()["model"]))
        self.loaded.tokenizer.save_pretrained(folder)

    def lend(self, root: Path | None, *, base: bool = False) -> AbstractContextManager[Lent]:
        return lent(self, root, base=base)

    def places(self) -> Sequence[Place]:
        return [place(self.loaded.device)]

    def share(self) -> Iterator[Shared]:
        dtype = getattr(torch, self.config.sampling_dtype)
        return share(whole(self.loaded.model.state_dict(keep_vars=True), dtype))

    def save_for_engines(self, folder: Path | None, *, base: bool = False) -> None:
        state = self._gathered(keep=folder is not None)
        if folder is None:
            return
        check_room(folder, total_bytes(state), f"the weights of {self.name}")
        self.loaded.model.save_pretrained(folder, state_dict=state)
        if base:
            self.loaded.tokenizer.save_pretrained(folder)

    def _gathered(self, *, keep: bool) -> dict[str, torch.Tensor]:
        """Returns whole weights in the dtype of engines, each gathered once; without ``keep``, none."""
        dtype, known = getattr(torch, self.config.sampling_dtype), dict[int, torch.Tensor]()
        named = self.loaded.model.state_dict(keep_vars=True)
        for value in named.values():
            if id(value) not in known:
                whole: torch.Tensor = fsdp.full_state(value.detach())
                known[id(value)] = cast({"": whole}, dtype)[""] if keep else whole.new_empty(0)
        return {name: known[id(value)] for name, value in named.items()} if keep else {}

    def save_merged(self, folder: Path) -> None:
        self.save(folder)


def _move(model: torch.nn.Module, device: torch.device) -> None:
    model.to(device)

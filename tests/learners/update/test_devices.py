"""Updates, log-probabilities and sampling on a device of its own: no operation mixes it with the
host.

``meta`` stands in for a GPU, which is not there: tensors on it have shapes and no values. What is read from
it is 1, and counted, because a GPU has to finish all its work before the host can read.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import conf
from learners.generators.hf import decode
from learners.types import LoadedModel
from learners.update.logprobs import completion_logprobs
from learners.update.updater import Updater
from learners.weights.adapter import Adapter
from learners.weights.full import Full
from tests.learners.doubles import completion, loaded_model, optimizer, transition

aten: Any = torch.ops.aten
MOVES = (aten._to_copy.default, aten.copy_.default)


class Apart(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises where an operation takes tensors of two devices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        with self:  # without autograd, what consists of other operations arrives whole
            result = func.decompose(*args, **given)
        if result is not NotImplemented:
            return result
        tensors = [one for one in tree_leaves((args, given)) if isinstance(one, torch.Tensor)]
        if func is aten._local_scalar_dense.default and tensors[0].is_meta:
            self.reads += 1
            return torch.ones((), dtype=tensors[0].dtype).item()
        if (
            func is aten._to_copy.default
            and tensors[0].is_meta
            and given.get("device", tensors[0].device).type == "cpu"
        ):
            self.reads += 1
            return torch.ones(tensors[0].shape, dtype=given.get("dtype", tensors[0].dtype))
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        if func not in MOVES and len(devices) > 1:
            raise AssertionError(f"{func} takes tensors on {' and '.join(sorted(devices))}")
        if func is aten.index_put_.default and tensors[0].is_meta:  # by booleans: needs values
            return args[0]
        if func is aten._fused_adamw_.default and tensors[0].is_meta:  # has no kernel for shapes alone
            return None
        return func(*args, **given)


@pytest.fixture(autouse=True)
def without_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in has none, not even one to be disabled; and the fused optimiser does not expect it."""
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *_: None)
    on_the_host = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda device, *_, **__: on_the_host("cpu", enabled=False))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


class Kind:
    """A model kind whose model is on the device."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.config = loaded.config
        self._loaded = loaded

    def load(self, env_name: str, seed: int) -> LoadedModel:
        model: torch.nn.Module = self._loaded.model
        model.to("meta")
        return self._loaded

    def architecture(self) -> Any:
        return self._loaded.model.config


def test_the_stand_in_sees_mixed_devices_and_counts_reads() -> None:
    with Apart() as apart:
        here, there = torch.ones(2), torch.ones(2, device="meta")
        with pytest.raises(AssertionError, match="takes tensors on cpu and meta"):
            here @ there
        assert (there.sum().item(), there.tolist(), apart.reads) == (1.0, [1.0, 1.0], 2)
        assert (here.sum().item(), apart.reads) == (2.0, 2)


def weights_of(kind: str, **changes: Any) -> Any:
    """The weights of a policy whose model is on the device; to be loaded within ``Apart``."""
    config = conf.check("learners.weights", conf.load("weights", kind))
    made = Full(config) if kind == "full" else Adapter(config)
    return made.load(Kind(loaded_model(kind="qwen3", **changes)), ["p"], "mathchat", 0, reference=True)["p"]


SAMPLED = [completion(length=3 + n, prompt=4, seed=n) for n in range(4)]
OPTIONS: Mapping[str, Any] = {
    "dtype": "bfloat16",
    "gradient_checkpointing": True,
    "update_tokens": 12,
    "optimizer": optimizer(minibatches=2),
}


@pytest.mark.parametrize("kind", ["full", "adapter"])
def test_an_update_keeps_to_its_device(kind: str) -> None:
    """With several optimiser steps, which need the log-probabilities of before, and a KL term in the loss."""
    algorithm = conf.build("learners", conf.load("algorithm", "reinforcepp", kl="loss_k2"))
    rows = [transition(5.0, sampled=one, reference=one.logprobs) for one in SAMPLED]
    with Apart():
        weights = weights_of(kind, **OPTIONS)
        updater = Updater(weights, steps=1, seed=0)
        metrics = updater.update(rows, [[1.0] * len(one.token_ids) for one in SAMPLED], algorithm)
    assert (metrics["rows"], updater.steps_done) == (4.0, 2)
    assert all(value.is_meta for state in updater._optimizer.state.values() for value in state.values())


def test_what_an_optimiser_step_reads_does_not_grow_with_its_micro_batches() -> None:
    algorithm = conf.build("learners", conf.load("algorithm", "reinforcepp"))
    rows = [transition(5.0, sampled=one) for one in SAMPLED]
    reads = []
    for most in (512, 1):
        with Apart() as apart:
            updater = Updater(weights_of("full", update_tokens=most), steps=1, seed=0)
            apart.reads = 0
            updater.update(rows, [[1.0] * len(one.token_ids) for one in SAMPLED], algorithm)
        reads.append(apart.reads)
    assert reads[0] == reads[1] > 0


@pytest.mark.parametrize("kind", ["full", "adapter"])
def test_the_reference_scores_on_its_device(kind: str) -> None:
    with Apart(), weights_of(kind).reference() as loaded:
        scored = completion_logprobs(loaded.model, SAMPLED, loaded.config)
    assert [len(row) for row in scored] == [len(one.token_ids) for one in SAMPLED]


def test_sampling_keeps_to_its_device_and_reads_two_values_a_token() -> None:
    prompts, draws = [[3, 4, 5], [6], [7, 8]], np.full((3, 8), 0.5)
    with Apart() as apart:
        loaded = weights_of("full").loaded
        apart.reads = 0
        rows = decode(loaded, prompts, draws=draws, temperatures=[1.0, 0.0, 0.5], stop=frozenset({9}))
    assert [row.token_ids for row in rows] == [[1] * 8] * 3
    assert apart.reads == 2 * 8

"""One policy's update on several processes: each computes whole rows, weights are sharded over all (FSDP2).

Every process calls the same methods in the same order with the same rows. The result of an optimiser step
does not depend on the number of processes: advantages and token weights are normalised over the whole step,
so the losses and gradients of the processes *sum* to those of a single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from learners.types import Batch, ModelConfig
from learners.update.logprobs import batch_logprobs

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process's rank and the number of processes that share an update; by default a single one."""

    index: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Returns those of the running ``torch.distributed`` job, as ``torchrun`` starts one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def all_sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the sum of each value over all processes; a key that a process lacks counts as 0."""
        return _sum(self.all_gather(dict(values)))

    def max_over_ranks(self, count: int) -> int:
        """Returns the largest count of any process."""
        return int(max(self.all_gather(count)))

    def all_gather(self, value: Value) -> list[Value]:
        """Returns the value of every process, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Sums the gradients over all processes, for parameters that are not sharded."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)


class Scorer(torch.nn.Module):
    """A packed batch -> log-probabilities, as one module: FSDP gathers weights when a module is called."""

    def __init__(self, model: PreTrainedModel, config: ModelConfig) -> None:
        super().__init__()
        self.model = model
        self._config = config

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``learners.update.logprobs.batch_logprobs``."""
        return batch_logprobs(self.model, batch, self._config)


def shard(scorer: Scorer) -> None:
    """Shards every weight over all processes; a layer's weights are gathered only while it computes.

    Gradients are summed, not averaged. Embedding, norm and head stay gathered from forward to backward.
    """
    blocks = set(scorer.model._no_split_modules or ())
    for module in scorer.model.modules():
        if type(module).__name__ in blocks:
            _sum_in(fully_shard(module))
    _sum_in(fully_shard(scorer))


def reshard(scorer: Scorer) -> None:
    """Reshards parameters after a forward-only pass."""
    for module in scorer.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def full_state(tree: Any) -> Any:
    """Returns ``tree`` with every sharded tensor gathered into host memory. All processes must call this."""
    if isinstance(tree, DTensor):
        return tree.full_tensor().cpu()
    if isinstance(tree, Mapping):
        return {key: full_state(value) for key, value in tree.items()}
    return [full_state(value) for value in tree] if isinstance(tree, list) else tree


def distribute_like(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Returns ``value`` sharded as ``other``; unchanged if that is not sharded or has another shape."""
    if not isinstance(other, DTensor) or value.shape != other.shape:
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)


def idle_batch(*, reference: bool) -> Batch:
    """Returns a batch of one token of weight 0, for a process that has no rows left."""
    zero = torch.zeros(1, dtype=torch.long)
    return Batch(
        ids=torch.zeros(2, dtype=torch.long),
        position=torch.arange(2),
        lengths=(2,),
        source=zero,
        target=zero,
        row=zero,
        sampling_logprobs=torch.zeros(1),
        prox_logprobs=None,
        ref_logprobs=torch.zeros(1) if reference else None,
        advantages=torch.zeros(1),
        token_weights=torch.zeros(1),
    )


def _sum_in(module: FSDPModule) -> None:
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)  # gloo supports plain sums only


def _sum(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: sum(part.get(key, 0.0) for part in parts) for key in keys}

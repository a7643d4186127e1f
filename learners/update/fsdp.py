"""One policy's update on several processes: whole rows to each, weights spread over all (FSDP2).

Every process calls the same methods in the same order with the same rows. What an optimiser step computes
does not depend on how many there are: advantages and token weights were normalised over the whole step, so
the processes' losses and gradients *sum* to those of one.
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

from learners.models.base import ModelConfig
from learners.types import Batch
from learners.update.logprobs import batch_logprobs

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """The processes of an update, as ``torch.distributed`` has them; alone by default."""

    index: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Those of the running job, which ``torchrun`` or the like has started."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sum of each value over all processes; what one of them lacks counts as 0."""
        return _sum(self.gathered(dict(values)))

    def most(self, count: int) -> int:
        """The largest count of any process."""
        return int(max(self.gathered(count)))

    def gathered(self, value: Value) -> list[Value]:
        """Every process's value, in their order."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Adds up, over all processes, the gradients of parameters that every one holds whole."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)


class Scorer(torch.nn.Module):
    """A model as updates use it: a packed batch -> log-probabilities. FSDP needs one module to call."""

    def __init__(self, model: PreTrainedModel, config: ModelConfig) -> None:
        super().__init__()
        self.model = model
        self._config = config

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``learners.update.logprobs.batch_logprobs``."""
        return batch_logprobs(self.model, batch, self._config)


def spread(scorer: Scorer) -> None:
    """Leaves each process its share of every weight; a layer is whole only while it computes.

    Gradients are summed, not averaged. Embedding, norm and head stay whole from forward to backward.
    """
    blocks = set(scorer.model._no_split_modules or ())
    for module in scorer.model.modules():
        if type(module).__name__ in blocks:
            _sum_in(fully_shard(module))
    _sum_in(fully_shard(scorer))


def gathered_no_more(scorer: Scorer) -> None:
    """Lets go of the weights that a forward pass without a backward pass has left whole."""
    for module in scorer.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tree: Any) -> Any:
    """``tree`` with every spread tensor in it put together, in host memory. All processes must call this."""
    if isinstance(tree, DTensor):
        return tree.full_tensor().cpu()
    if isinstance(tree, Mapping):
        return {key: whole(value) for key, value in tree.items()}
    return [whole(value) for value in tree] if isinstance(tree, list) else tree


def like(value: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """``value``, spread as ``model`` is, if it is and both have one shape."""
    if not isinstance(model, DTensor) or value.shape != model.shape:
        return value
    return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)


def idle_batch(*, reference: bool) -> Batch:
    """A batch of one token that weighs nothing: what a process computes that has no rows left."""
    one, zero = torch.ones(1, 2, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    return Batch(
        ids=torch.zeros_like(one),
        segment=one,
        position=torch.arange(2)[None],
        source=zero,
        target=zero,
        row=zero,
        old_logprobs=torch.zeros(1),
        prox_logprobs=None,
        ref_logprobs=torch.zeros(1) if reference else None,
        advantages=torch.zeros(1),
        weights=torch.zeros(1),
    )


def _sum_in(module: FSDPModule) -> None:
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)  # gloo knows no other than plain sums


def _sum(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: sum(part.get(key, 0.0) for part in parts) for key in keys}

"""One agent's trainable weights, whichever way they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from conf import ConfigError

if TYPE_CHECKING:
    import torch
    from torch.nn import Parameter

    from learners.models.base import LoadedModel, ModelConfig
    from learners.types import Batch, Completion


class Source(Protocol):
    """All that a generator with a copy of its own may ask of a policy's weights, which may be far away.

    Every process that shares them (``Weights.spread``) must make each of these calls.
    """

    name: str
    """Of the policy that they are."""
    adapter: bool
    """Whether they are an adapter in a base that others share, and not the whole model."""

    @property
    def config(self) -> ModelConfig:
        """The model's settings: precision, lengths, chat template."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what is trained, for ``transformers`` (an adapter: ``peft``) to load; and the tokenizer."""
        ...

    def save_base(self, folder: Path) -> None:
        """Writes the model that an adapter is for, as it was before training; whole weights as ``save`` does.

        Tokenizer and generation config are with it.
        """
        ...

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Logprobs of the sampled tokens under the weights as they are now, one tuple a completion."""
        ...


class Weights(Source, Protocol):
    """What one policy trains in a loaded model, and what it began as: the reference of KL terms."""

    loaded: LoadedModel

    def active(self) -> AbstractContextManager[LoadedModel]:
        """The model, computing with these weights; no other thread has it meanwhile. May be nested."""
        ...

    def reference(self) -> AbstractContextManager[LoadedModel]:
        """The model as it was before training, frozen.

        Raises:
            ValueError: none was kept.
        """
        ...

    def score(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """``learners.update.logprobs.batch_logprobs`` under these weights; within ``active``."""
        ...

    def parameters(self) -> list[Parameter]:
        """What an optimiser may change."""
        ...

    def spread(self) -> bool:
        """Leaves each process of the running job its share, before an optimiser is made.

        False: every process keeps them whole, and gradients are still to be summed over all.
        """
        ...

    def state(self) -> Mapping[str, Any]:
        """The weights and where they began; live tensors."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes the weights as they were when ``state`` was taken.

        Raises:
            ConfigError: ``state`` was trained from other initial weights than these.
        """
        ...

    def save_whole(self, folder: Path) -> None:
        """Writes a model that needs no other: an adapter is merged into its base."""
        ...


def fingerprint(model: Any) -> float:
    """A number that other weights would not give."""
    return float(sum(parameter.detach().double().abs().sum() for parameter in model.parameters()))


def check_origin(name: str, state: Mapping[str, Any], origin: float | None) -> None:
    """Raises ``ConfigError`` where ``state`` was trained against another reference than ``origin``."""
    if state["origin"] != origin:
        raise ConfigError(f"the initial weights of {name} are not those its checkpoint was trained from")

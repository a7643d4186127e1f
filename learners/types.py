"""The learner's records. Standard library and torch types only where a tensor is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from coaches.base import Verdict
from envs.types import Message, Turn

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Bill:
    """What a server says of a completion that it sampled."""

    prompt_tokens: int | None
    tokens: int | None
    cost: float
    """US dollars."""


@dataclass(frozen=True)
class Completion:
    """What a policy sampled, token in and token out: these ids and logprobs are the ones trained on."""

    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """The sampled ids, the end-of-turn token included when it was sampled."""
    logprobs: tuple[float, ...]
    """log π(token) at temperature 1, natural log, one per token of ``token_ids``."""
    weight_version: int
    finish_reason: Literal["stop", "length"]
    bill: Bill | None = None
    """From a server that tells no ids: the three tuples above are empty then, and nothing can be trained."""

    @property
    def prompt_tokens(self) -> int | None:
        """How long the prompt was; None where a server did not say."""
        return self.bill.prompt_tokens if self.bill else len(self.prompt_ids)

    @property
    def tokens(self) -> int | None:
        """How many were sampled; None where a server did not say."""
        return self.bill.tokens if self.bill else len(self.token_ids)


@dataclass(frozen=True)
class Request:
    """What one completion is sampled for, and how: see ``learners.base.Generator.generate``."""

    messages: Sequence[Message]
    seed: int
    temperature: float


@dataclass(frozen=True)
class Transition:
    """One action of one agent as a training row."""

    episode: str
    turn: Turn
    completion: Completion
    verdict: Verdict | None
    reward: float | None
    """What the action earned; None where the coach had no verdict: masked and counted, never guessed."""
    ref_logprobs: tuple[float, ...] | None = None
    """Under the agent's frozen reference, one per sampled token; None where the algorithm asks for none."""


@dataclass(frozen=True)
class Batch:
    """Packed training rows of one agent. B bins, T tokens a bin, N = trained tokens.

    Several rows share a bin; ``segment`` keeps their attention apart and ``position`` starts anew in each.
    """

    ids: torch.Tensor
    """int64 [B, T]; padded with 0."""
    segment: torch.Tensor
    """int64 [B, T]: number of the row in its bin from 1; 0 is padding."""
    position: torch.Tensor
    """int64 [B, T]: position within the row, from 0."""
    source: torch.Tensor
    """int64 [N]: index into the flattened [B*T] hidden states from which trained token n is predicted."""
    target: torch.Tensor
    """int64 [N]: the sampled token's id."""
    row: torch.Tensor
    """int64 [N]: which row of the optimiser step token n belongs to."""
    old_logprobs: torch.Tensor
    """float32 [N]: at sampling time, as the inference engine computed them."""
    prox_logprobs: torch.Tensor | None
    """float32 [N]: the trainer's own before the update (the proximal policy). None where the update has one
    optimiser step: those that its forward pass computes, then, are just these."""
    ref_logprobs: torch.Tensor | None
    """float32 [N], or None."""
    advantages: torch.Tensor
    """float32 [N]."""
    weights: torch.Tensor
    """float32 [N]: a token's share of the loss, normalised over the *whole* optimiser step, all micro-batches
    and workers, so that the step's loss is the plain sum of its micro-batches' losses."""

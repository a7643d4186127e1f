"""What an engine is asked and answers, in token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoraAdapter:
    """One version of a policy's adapter, as an engine knows it."""

    name: str
    """Unique: an engine does not notice new weights under a name that it has seen."""
    number: int
    """Unique, from 1."""
    folder: Path


@dataclass
class ServedWeights:
    """What an engine samples with for one policy; replaced in place when new weights arrive."""

    adapter: LoraAdapter | None = None
    """None: the engine's own weights."""
    version: int = 0


@dataclass(frozen=True)
class TokenRequest:
    """One prompt to complete."""

    prompt: Sequence[int]
    seed: int
    temperature: float
    limit: int
    """Most tokens to sample."""
    stop: frozenset[int]
    """Ids that end the completion, and are part of it."""
    served: ServedWeights
    """Read when the engine takes the request, not when the request is made: new weights may arrive in
    between, and the adapter of before is then gone."""
    prompt_logprobs: bool = False
    """Whether the log-probabilities of the prompt's tokens are wanted too."""


@dataclass(frozen=True)
class TokenAnswer:
    """The completion of a request."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """One per id; preceded, with ``prompt_logprobs``, by those of all prompt tokens but the first."""
    version: int
    """Of the weights that sampled it."""

"""Fixed tokens that tell whether an engine samples from the weights that it should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.types import Message
from learners.base import TrainingError
from learners.generators.chat import ChatFormat
from learners.types import Completion

RANDOM = 48
"""Tokens drawn over the whole vocabulary: they read many rows of the embedding."""
SAMPLED = 8
"""Tokens that the engine adds: generation need not run the same kernels as the prompt."""
SEED = 20260111
CHAT = (
    Message("system", "You are the modeler of a team."),
    Message("user", "Fit a model to the table and print its score."),
)
MOVED = 1e-3
"""Nats, mean: when the trainer's values moved by more, the engine's cannot be bit for bit the same."""


@dataclass(frozen=True)
class Trace:
    """What an engine made of the probe."""

    prompt: tuple[int, ...]
    sampled: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of every token but the first of the prompt, natural log."""

    @property
    def completion(self) -> Completion:
        """The probe as something whose every token but the first was sampled."""
        ids = self.prompt + self.sampled
        return Completion("", ids[:1], ids[1:], self.logprobs, 0, "length")


@dataclass(frozen=True)
class Checked:
    """A trace that agreed with the trainer, and what the trainer said then."""

    trace: Trace
    wanted: tuple[float, ...]

    @property
    def gap(self) -> float:
        """Mean distance of a token's log-probabilities, nats."""
        return distance(self.trace.logprobs, self.wanted)


def tokens(chat: ChatFormat, vocabulary: int) -> tuple[int, ...]:
    """The probe's prompt: random tokens, then a chat, no longer than prompts may be."""
    drawn = np.random.default_rng(SEED).integers(0, vocabulary, RANDOM).tolist()
    return tuple((drawn + chat.prompt(CHAT))[: chat.config.max_prompt_tokens])


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Mean absolute difference; infinite where one is no number."""
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values against {len(other)}")
    found = float(np.abs(np.subtract(one, other)).mean())
    return found if math.isfinite(found) else math.inf


def check_updated(name: str, now: Checked, before: Checked | None, tolerance: float) -> None:
    """The engine has what the trainer has.

    Small steps hide in the rounding of bfloat16, so that old weights can be within the tolerance; an engine
    that has not moved at all while the trainer has gives itself away.

    Raises:
        TrainingError: it has not.
    """
    if now.gap > tolerance:
        raise TrainingError(
            f"what samples for {name} is not what was trained: {now.gap:.4g} nats a token apart, "
            f"where {tolerance:g} is the tolerance (generator.tolerance)"
        )
    if before is None:
        return
    count = len(now.trace.prompt) - 1
    moved = distance(now.wanted[:count], before.wanted[:count])
    if moved > MOVED and now.trace.logprobs[:count] == before.trace.logprobs[:count]:
        raise TrainingError(
            f"what samples for {name} has not changed at all, though training moved it by {moved:.4g} nats "
            "a token"
        )


def check_unchanged(name: str, now: Trace, before: Trace, drift: float) -> None:
    """The engine gives for unchanged weights what it gave before.

    Raises:
        TrainingError: it does not.
    """
    same = now.sampled == before.sampled
    gap = distance(now.logprobs, before.logprobs) if same else math.inf
    if gap > drift:
        raise TrainingError(
            f"outputs of unchanged weights changed: {name}, "
            + (f"{gap:.4g} nats a token apart" if same else "other tokens from the same seed")
        )

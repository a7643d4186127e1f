"""Checks on a fixed prompt, the probe, that an engine samples from the weights that it should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.types import Message
from learners.errors import TrainingError
from learners.generators.chat import ChatFormat
from learners.types import Completion

RANDOM = 48
"""Random tokens of the probe, from the whole vocabulary: they read many rows of the embedding."""
SAMPLED = 8
"""Tokens that the engine adds: generation may run other kernels than the prompt."""
SEED = 20260111
CHAT = (
    Message("system", "You are the modeler of a team."),
    Message("user", "Fit a model to the table and print its score."),
)
MOVED = 1e-3
"""Mean nats: if the trainer's values moved by more, the engine's cannot have stayed the same bit for bit."""


@dataclass(frozen=True)
class Trace:
    """An engine's output for the probe."""

    prompt: tuple[int, ...]
    sampled: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of every token but the first of the prompt, natural log."""

    @property
    def completion(self) -> Completion:
        """The probe as a completion of which every token but the first was sampled."""
        ids = self.prompt + self.sampled
        return Completion("", ids[:1], ids[1:], self.logprobs, 0, "length")


@dataclass(frozen=True)
class Checked:
    """A trace, and the trainer's logprobs of the same tokens at that time."""

    trace: Trace
    expected: tuple[float, ...]

    @property
    def gap(self) -> float:
        """Mean distance between engine and trainer, nats per token."""
        return distance(self.trace.logprobs, self.expected)


def tokens(chat: ChatFormat, vocabulary: int) -> tuple[int, ...]:
    """Returns the probe's prompt: random tokens, then a chat, truncated to ``max_prompt_tokens``."""
    drawn = np.random.default_rng(SEED).integers(0, vocabulary, RANDOM).tolist()
    return tuple((drawn + chat.prompt(CHAT))[: chat.config.max_prompt_tokens])


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the mean absolute difference; infinite if any value is not finite."""
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values against {len(other)}")
    mean = float(np.abs(np.subtract(one, other)).mean())
    return mean if math.isfinite(mean) else math.inf


def check_updated(name: str, now: Checked, before: Checked | None, tolerance: float) -> None:
    """Checks that the engine has the trainer's weights.

    Small steps are hidden by the rounding of bfloat16, so old weights can be within the tolerance. But an
    engine whose values did not change at all, although the trainer's did, has the old weights.

    Raises:
        TrainingError: it has other weights.
    """
    if now.gap > tolerance:
        raise TrainingError(
            f"the weights that sample for {name} are not the trained ones: {now.gap:.4g} nats a token apart, "
            f"above the tolerance of {tolerance:g} (generator.tolerance)"
        )
    if before is None:
        return
    count = len(now.trace.prompt) - 1
    moved = distance(now.expected[:count], before.expected[:count])
    if moved > MOVED and now.trace.logprobs[:count] == before.trace.logprobs[:count]:
        raise TrainingError(
            f"the weights that sample for {name} did not change at all, though training moved them by "
            f"{moved:.4g} nats a token"
        )


def check_unchanged(name: str, now: Trace, before: Trace, drift: float) -> None:
    """Checks that unchanged weights give the same outputs as before.

    Raises:
        TrainingError: they do not.
    """
    same = now.sampled == before.sampled
    gap = distance(now.logprobs, before.logprobs) if same else math.inf
    if gap > drift:
        raise TrainingError(
            f"outputs of unchanged weights changed: {name}, "
            + (f"{gap:.4g} nats a token apart" if same else "other tokens from the same seed")
        )

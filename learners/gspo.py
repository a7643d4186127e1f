"""GSPO (arXiv 2507.18071) on coach scores of single actions.

The ratio is the sequence's: s = exp(mean over its tokens of log pi - log pi_old), their geometric mean, and
PPO's clip is on it, so that an action is trained on or left out as a whole; the loss is the mean over
sequences. With GRPO's group-relative A and no KL term. Ratios of whole sequences differ from 1 by little:
hence a clip of a few ten-thousandths, and it cuts a large share, in the paper too.

Where this departs from the paper: see ``learners.algorithms.settings``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.algorithms import losses
from learners.algorithms.advantages import earned, group_relative, spread_over_tokens
from learners.algorithms.settings import GroupSettings, check_clip
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch


class Gspo:
    """Advantages and loss of GSPO; see the module's docstring."""

    needs_reference = False

    @dataclass
    class Config(GroupSettings):
        deviation: bool
        """Divide by the group's standard deviation."""
        clip_low: float
        clip_high: float
        """The sequence's ratio pays only within [1 - clip_low, 1 + clip_high]."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_clip(self.clip_low, self.clip_high)

    def __init__(self, config: Config) -> None:
        self.config = config

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Each action's value within its group, for all its tokens; None: not trained on."""
        config = self.config
        values = group_relative(
            transitions, earned(transitions, config), config.group, deviation=config.deviation
        )
        return spread_over_tokens(transitions, values)

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """The same for every sequence; see ``learners.algorithms.losses.aggregation``."""
        return losses.aggregation(transitions, "sequence")

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """The clipped loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: those of ``learners.algorithms.losses.Ratios``; ``policy_loss``; ``clip_fraction``, the share of
        sequences whose gradient the clip removes.
        """
        config = self.config
        found = losses.compare(logprobs, batch, config)
        ratio = losses.row_means(found.log, batch.row).exp()
        objective, cut = losses.clipped(ratio, batch.advantages, config.clip_low, config.clip_high)
        loss = -(batch.weights * found.importance * objective).sum()
        metrics = {"policy_loss": loss, "clip_fraction": (batch.weights * cut).sum()}
        return loss, losses.floats(metrics | found.metrics)


if __name__ == "__main__":
    from learners.train import main

    main("gspo")

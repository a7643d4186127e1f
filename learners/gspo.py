"""GSPO (arXiv 2507.18071) on coach scores of single actions.

The ratio is the sequence's: s = exp(mean over its tokens of log pi - log pi_old), the geometric mean of the
tokens' ratios. PPO's clip applies to s, so that an action is trained on or left out as a whole. The loss is
the mean over sequences, with GRPO's group-relative A and no KL term. Ratios of whole sequences are close to
1: hence a clip of a few ten-thousandths, which still clips a large share, in the paper too.

Departures from the paper: see ``learners.algorithms.settings``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conf.ranges import NonNegative, Share
from learners.algorithms import losses
from learners.algorithms.base import GroupRelative
from learners.algorithms.losses import Objective, Ratios
from learners.algorithms.settings import GroupRelativeSettings
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch


class Gspo(GroupRelative):
    """Loss of GSPO, with group-relative advantages; see the module's docstring."""

    @dataclass
    class Config(GroupRelativeSettings):
        clip_low: Share
        clip_high: NonNegative
        """The sequence's ratio is clipped to [1 - clip_low, 1 + clip_high]."""

    config: Config

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Returns each row's weight per token: the loss is the mean over sequences."""
        return losses.aggregation(transitions, "sequence")

    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """The clipped objective; ``clip_fraction`` is the share of sequences without a gradient."""
        ratio = losses.row_means(ratios.log, batch.row).exp()
        objective = losses.clipped(ratio, batch.advantages, self.config.clip_low, self.config.clip_high)
        return replace(objective, ratio=ratio)


if __name__ == "__main__":
    from learners.train import main

    main("gspo")

"""GRPO (arXiv 2402.03300), or Dr. GRPO (arXiv 2503.20783), on coach scores of single actions.

A = (G - mean of the group) / standard deviation of the group, for every token of the action, enters PPO's
clipped objective. The loss is the mean over sequences of their token means and includes the k3 estimate of
the KL divergence from the reference.

Dr. GRPO is ``deviation: false``, ``loss_agg: token`` and ``kl: off``: dividing by the standard deviation
favors tasks with nearly equal scores, and dividing by a sequence's own length favors long failures. The paper
divides by a constant length instead of the step's token count, a factor that differs between steps but never
between the rows of one step.

Departures from the papers, besides those in ``learners.algorithms.settings``: none. The KL term is as
published, without importance weights, so its gradient is biased (arXiv 2510.01555).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conf.ranges import NonNegative, Share
from learners.algorithms import losses
from learners.algorithms.base import GroupRelative
from learners.algorithms.losses import Objective, Ratios
from learners.algorithms.settings import GroupRelativeSettings, check_choice
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

KL = ("off", "loss_k3")
LOSS_AGG = ("sequence", "token")


class Grpo(GroupRelative):
    """Loss of GRPO, with its group-relative advantages; see the module's docstring."""

    @dataclass
    class Config(GroupRelativeSettings):
        kl: str
        """Penalty on the divergence from the initial weights: ``off``, or in the loss (``loss_k3``)."""
        kl_coef: NonNegative
        clip_low: Share
        clip_high: NonNegative
        """The ratio to the policy before the update is clipped to [1 - clip_low, 1 + clip_high]."""
        loss_agg: str
        """The loss is the mean over sequences of their token means (``sequence``), or the mean over all
        tokens (``token``)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "kl", KL)
            check_choice(self, "loss_agg", LOSS_AGG)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, needs_reference=config.kl != "off")

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Returns each row's weight per token, as ``loss_agg`` says."""
        return losses.aggregation(transitions, self.config.loss_agg)

    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """PPO's clipped objective."""
        return losses.clipped(ratios.ratio, batch.advantages, self.config.clip_low, self.config.clip_high)

    def kl_loss(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> torch.Tensor | None:
        """The k3 estimate, as published."""
        if self.config.kl == "off":
            return None
        return self.config.kl_coef * (batch.token_weights * losses.k3(logprobs, batch)).sum()


if __name__ == "__main__":
    from learners.train import main

    main("grpo")

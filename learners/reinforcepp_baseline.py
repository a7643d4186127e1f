"""REINFORCE++-baseline (arXiv 2501.03262, version 9) on coach scores of single actions.

The mean of its group is subtracted from G, and the result is whitened over all of an agent's tokens of the
batch, not within the group, whose few samples give a poor estimate of a standard deviation. Then follow PPO's
clipped objective, the mean over all tokens, and the k2 estimate of the KL divergence from the reference in
the loss.

Departures from the paper, besides those in ``learners.algorithms.settings``: each agent has its own
statistics, and the KL term is weighted by the ratio and the importance weights, so that its gradient is right
off-policy as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conf.ranges import NonNegative, Share
from learners.algorithms import losses
from learners.algorithms.advantages import credited_returns, group_relative, spread_over_tokens, whiten
from learners.algorithms.base import PolicyGradient
from learners.algorithms.losses import Objective, Ratios
from learners.algorithms.settings import DEVIATION, GroupSettings, check_choice
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

KL = ("off", "loss_k2")


class ReinforcePPBaseline(PolicyGradient):
    """Advantages and loss of REINFORCE++-baseline; see the module's docstring."""

    @dataclass
    class Config(GroupSettings):
        kl: str
        """Penalty on the divergence from the initial weights: ``off``, or in the loss (``loss_k2``)."""
        kl_coef: NonNegative
        clip_low: Share
        clip_high: NonNegative
        """The ratio to the policy before the update is clipped to [1 - clip_low, 1 + clip_high]."""
        deviation: str
        """The standard deviation that whitening divides by: ``population``, or ``sample``, the unbiased
        estimate."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "kl", KL)
            check_choice(self, "deviation", DEVIATION)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, needs_reference=config.kl != "off")

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Returns whitened per-token advantages of all transitions, in order; None: not trained on."""
        config = self.config
        values = group_relative(
            transitions, credited_returns(transitions, config), config.group, deviation=False
        )
        agents = [transition.turn.agent for transition in transitions]
        rows = spread_over_tokens(transitions, values)
        return whiten(rows, agents, by_action=False, deviation=config.deviation)

    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """PPO's clipped objective."""
        return losses.clipped(ratios.ratio, batch.advantages, self.config.clip_low, self.config.clip_high)

    def kl_loss(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> torch.Tensor | None:
        """The k2 estimate, weighted so that its gradient is right off-policy as well."""
        if self.config.kl == "off":
            return None
        return self.config.kl_coef * losses.k2_loss(logprobs, ratios, batch)


if __name__ == "__main__":
    from learners.train import main

    main("reinforcepp_baseline")

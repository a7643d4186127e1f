"""RLOO, REINFORCE with a leave-one-out baseline (arXiv 2402.14740), on coach scores of single actions.

The whole completion is one action: A = R - mean of the R of the others in its group, for every token, with
R = G - kl_coef * sum_t (log pi_sampling - log pi_ref), and the loss is -A log pi, without clipping.

Departures from the paper, besides those in ``learners.algorithms.settings``: the loss is divided by the
step's token count, not by its number of completions, a factor that differs between steps but never between
the rows of one step. If an update has several optimiser steps, the unclipped ratio to the policy before the
update keeps the gradient right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conf.ranges import NonNegative
from learners.algorithms.advantages import credited_returns, kl_to_go, leave_one_out, spread_over_tokens
from learners.algorithms.base import PolicyGradient
from learners.algorithms.losses import Objective, Ratios
from learners.algorithms.settings import GroupSettings, check_choice
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

KL = ("off", "reward_k1")


class Rloo(PolicyGradient):
    """Advantages and loss of RLOO; see the module's docstring."""

    @dataclass
    class Config(GroupSettings):
        kl: str
        """Penalty on the divergence from the initial weights: ``off``, or in the reward (``reward_k1``)."""
        kl_coef: NonNegative

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "kl", KL)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, needs_reference=config.kl != "off")

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Returns each action's value minus the mean of the others', for all its tokens; None: not trained
        on.

        Raises:
            ValueError: ``kl: reward_k1`` and a row has no ``ref_logprobs``.
        """
        config = self.config
        values = credited_returns(transitions, config)
        if config.kl == "reward_k1":
            values = [
                None if value is None else value - config.kl_coef * kl_to_go(transition)[0]
                for transition, value in zip(transitions, values, strict=True)
            ]
        return spread_over_tokens(transitions, leave_one_out(transitions, values, config.group))

    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """REINFORCE's objective: its gradient at unchanged weights is that of A log pi."""
        return Objective(ratios.ratio * batch.advantages, {})


if __name__ == "__main__":
    from learners.train import main

    main("rloo")

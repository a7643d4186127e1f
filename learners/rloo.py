"""RLOO, REINFORCE with a leave-one-out baseline (arXiv 2402.14740), on coach scores of single actions.

The whole completion is one action: A = R - mean of the R of the others of its group, for every token, with
R = G - kl_coef * sum_t (log pi_sampling - log pi_ref), and the loss is -A log pi, without clipping.

Where this departs from the paper: see ``learners.algorithms.settings``. The loss is divided by the step's token count
and not its number of completions, a factor between steps but never between the rows of one. Where an update
has several optimiser steps, the unclipped ratio to the policy before it keeps the gradient right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.algorithms import losses
from learners.algorithms.advantages import earned, kl_to_go, leave_one_out, spread_over_tokens
from learners.algorithms.settings import GroupSettings, check_choice
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

KL = ("off", "reward_k1")


class Rloo:
    """Advantages and loss of RLOO; see the module's docstring."""

    @dataclass
    class Config(GroupSettings):
        kl: str
        """To the initial weights: ``off``, or in the reward (``reward_k1``)."""
        kl_coef: float

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "kl", KL)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.needs_reference = config.kl != "off"

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Each action's value less that of the others, for all its tokens; None: not trained on.

        Raises:
            ValueError: ``kl: reward_k1`` and a row has no ``ref_logprobs``.
        """
        config = self.config
        values = earned(transitions, config)
        if config.kl == "reward_k1":
            values = [
                None if value is None else value - config.kl_coef * kl_to_go(transition)[0]
                for transition, value in zip(transitions, values, strict=True)
            ]
        return spread_over_tokens(transitions, leave_one_out(transitions, values, config.group))

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """The same for every token; see ``learners.algorithms.losses.aggregation``."""
        return losses.aggregation(transitions, "token")

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """REINFORCE's loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: those of ``learners.algorithms.losses.Ratios``; ``policy_loss``.
        """
        found = losses.compare(logprobs, batch, self.config)
        loss = -(batch.weights * found.importance * found.ratio * batch.advantages).sum()
        return loss, losses.floats({"policy_loss": loss} | found.metrics)


if __name__ == "__main__":
    from learners.train import main

    main("rloo")

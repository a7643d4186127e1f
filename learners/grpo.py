"""GRPO (arXiv 2402.03300), or Dr. GRPO (arXiv 2503.20783), on coach scores of single actions.

A = (G - mean of the group) / standard deviation of the group, for every token of the action, goes into PPO's
clipped objective; the loss is the mean over sequences of their token means, with the k3 estimate of the KL
divergence to the reference in it.

Dr. GRPO is ``deviation: false``, ``loss_agg: token`` and ``kl: off``: dividing by the deviation favours tasks
whose scores differ little, and dividing by a sequence's own length favours long failures. It divides by a
constant length instead of the step's token count, a factor that differs from step to step but never between
the rows of one.

Where this departs from the papers: see ``learners.algorithms.settings``. The KL term is as published, without importance
weights, and so has a biased gradient (arXiv 2510.01555).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.algorithms import losses
from learners.algorithms.advantages import earned, group_relative, spread_over_tokens
from learners.algorithms.settings import GroupSettings, check_choice, check_clip
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

KL = ("off", "loss_k3")
LOSS_AGG = ("sequence", "token")


class Grpo:
    """Advantages and loss of GRPO; see the module's docstring."""

    @dataclass
    class Config(GroupSettings):
        deviation: bool
        """Divide by the group's standard deviation."""
        kl: str
        """To the initial weights: ``off``, or in the loss (``loss_k3``)."""
        kl_coef: float
        clip_low: float
        clip_high: float
        """The ratio to the policy before the update pays only within [1 - clip_low, 1 + clip_high]."""
        loss_agg: str
        """The mean over sequences of their token means, or over all tokens."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "kl", KL)
            check_choice(self, "loss_agg", LOSS_AGG)
            check_clip(self.clip_low, self.clip_high)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.needs_reference = config.kl != "off"

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Each action's value within its group, for all its tokens; None: not trained on."""
        config = self.config
        values = group_relative(
            transitions, earned(transitions, config), config.group, deviation=config.deviation
        )
        return spread_over_tokens(transitions, values)

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """See ``learners.algorithms.losses.aggregation``."""
        return losses.aggregation(transitions, self.config.loss_agg)

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """The clipped loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: those of ``learners.algorithms.losses.Ratios``; ``policy_loss``; ``clip_fraction``, the share of
        tokens whose gradient the clip removes; ``kl_loss``.

        Raises:
            ValueError: ``kl: loss_k3`` and the batch has no ``ref_logprobs``.
        """
        config = self.config
        found = losses.compare(logprobs, batch, config)
        objective, cut = losses.clipped(found.ratio, batch.advantages, config.clip_low, config.clip_high)
        loss = policy_loss = -(batch.weights * found.importance * objective).sum()
        metrics = {"policy_loss": policy_loss, "clip_fraction": (batch.weights * cut).sum()}
        if config.kl == "loss_k3":
            metrics["kl_loss"] = config.kl_coef * (batch.weights * losses.k3(logprobs, batch)).sum()
            loss = loss + metrics["kl_loss"]
        return loss, losses.floats(metrics | found.metrics)


if __name__ == "__main__":
    from learners.train import main

    main("grpo")

"""REINFORCE++-baseline (arXiv 2501.03262, version 9) on coach scores of single actions.

G less the mean of its group, then whitened over all of an agent's tokens of the batch and not within the
group, whose few samples make a bad estimate of a deviation; then PPO's clipped objective, the mean over all
tokens, with the k2 estimate of the KL divergence to the reference in the loss.

Where this departs from the paper: see ``learners.algorithms.settings``. The statistics are an agent's own, and the KL
term is weighted by the ratio and the importance weights, so that its gradient is right off-policy too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learners.algorithms import losses
from learners.algorithms.advantages import earned, group_relative, spread_over_tokens, whiten
from learners.algorithms.settings import GroupSettings, check_choice, check_clip
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

KL = ("off", "loss_k2")


class ReinforcePPBaseline:
    """Advantages and loss of REINFORCE++-baseline; see the module's docstring."""

    @dataclass
    class Config(GroupSettings):
        kl: str
        """To the initial weights: ``off``, or in the loss (``loss_k2``)."""
        kl_coef: float
        clip_low: float
        clip_high: float
        """The ratio to the policy before the update pays only within [1 - clip_low, 1 + clip_high]."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice(self, "kl", KL)
            check_clip(self.clip_low, self.clip_high)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.needs_reference = config.kl != "off"

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Per-token advantages of all agents' transitions of a step, in order; None: not trained on."""
        config = self.config
        values = group_relative(transitions, earned(transitions, config), config.group, deviation=False)
        agents = [transition.turn.agent for transition in transitions]
        return whiten(spread_over_tokens(transitions, values), agents, by_action=False)

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """The same for every token; see ``learners.algorithms.losses.aggregation``."""
        return losses.aggregation(transitions, "token")

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """The clipped loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: those of ``learners.algorithms.losses.Ratios``; ``policy_loss``; ``clip_fraction``, the share of
        tokens whose gradient the clip removes; ``kl_loss``.

        Raises:
            ValueError: ``kl: loss_k2`` and the batch has no ``ref_logprobs``.
        """
        config = self.config
        found = losses.compare(logprobs, batch, config)
        weights = batch.weights * found.importance
        objective, cut = losses.clipped(found.ratio, batch.advantages, config.clip_low, config.clip_high)
        loss = policy_loss = -(weights * objective).sum()
        metrics = {"policy_loss": policy_loss, "clip_fraction": (batch.weights * cut).sum()}
        if config.kl == "loss_k2":
            drift = losses.k2(logprobs, batch)
            metrics["kl_loss"] = config.kl_coef * (weights * found.ratio.detach() * drift).sum()
            loss = loss + metrics["kl_loss"]
        return loss, losses.floats(metrics | found.metrics)


if __name__ == "__main__":
    from learners.train import main

    main("reinforcepp_baseline")

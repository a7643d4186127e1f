"""REINFORCE++ (arXiv 2501.03262) on coach scores of single actions, as MAPPA (arXiv 2601.23228) uses it.

For token t of action k:  A_t = G_k - beta * sum_{u >= t} k1_u,  with k1 = log pi_old - log pi_ref and G_k the
(discounted) sum of the rewards that are credited to action k, minus a baseline. A is then whitened over all
of an agent's tokens of the batch and enters PPO's clipped objective, without a critic.

Departures from the paper, besides those in ``learners.algorithms.settings``: by default each agent has its
own statistics; the KL term may be in the loss, or absent. pi_old in k1 is the policy that sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from conf.ranges import NonNegative, Range, Share
from learners.algorithms import losses
from learners.algorithms.advantages import (
    credited_returns,
    kl_to_go,
    spread_over_tokens,
    subtract_baseline,
    whiten,
)
from learners.algorithms.base import PolicyGradient
from learners.algorithms.losses import Objective, Ratios
from learners.algorithms.settings import DEVIATION, Settings, check_choice
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

CHOICES = {
    "baseline": ("none", "turn_mean", "leave_one_out", "kind_mean"),
    "kl": ("off", "reward_k1", "loss_k2"),
    "loss_agg": ("token", "sequence", "turn"),
    "adv_norm": ("agent", "all", "none"),
    "norm_weighting": ("token", "action"),
    "deviation": DEVIATION,
}


class ReinforcePP(PolicyGradient):
    """Advantages and loss of REINFORCE++; see the module's docstring."""

    @dataclass
    class Config(Settings):
        baseline: str
        """What is subtracted from returns: nothing (``none``); the mean of the same agent, task and turn
        (``turn_mean``); the mean of the other rows of these (``leave_one_out``); or the mean of the same
        agent, turn and kind of task (``kind_mean``), which removes a coach's bias for a kind. The inputs of
        later turns differ, so for them the first two are approximate. A row with nothing to compare it with
        is not trained on."""
        kl: str
        """Penalty on the divergence from the initial weights: ``off``, in the reward (``reward_k1``), or in
        the loss (``loss_k2``)."""
        kl_coef: NonNegative
        clip_low: Share
        clip_high: NonNegative
        """The ratio to the policy before the update is clipped to [1 - clip_low, 1 + clip_high]."""
        dual_clip: Annotated[float, Range(above=1)] | None
        """Limits the loss of an action with a negative advantage to this multiple of it; above 1, or null."""
        loss_agg: str
        """The loss is the mean over all tokens (``token``), the mean over sequences of their token means
        (``sequence``), or the mean over groups of the same agent, task and turn of their token means
        (``turn``)."""
        adv_norm: str
        """Whether advantages are whitened over each agent's tokens (``agent``), over all agents' (``all``),
        or not (``none``)."""
        norm_weighting: str
        """Whether every token has the same weight in the statistics (``token``), or every action
        (``action``)."""
        deviation: str
        """The standard deviation that whitening divides by: ``population``, or ``sample``, the unbiased
        estimate."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for key, allowed in CHOICES.items():
                check_choice(self, key, allowed)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, needs_reference=config.kl != "off")

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Returns per-token advantages of all agents' transitions of a step, in order; None: not trained on.

        Raises:
            ValueError: ``kl: reward_k1`` and a row has no ``ref_logprobs``.
        """
        config = self.config
        values = subtract_baseline(transitions, credited_returns(transitions, config), config.baseline)
        rows = spread_over_tokens(transitions, values)
        if config.kl == "reward_k1":
            for transition, row in zip(transitions, rows, strict=True):
                if row is not None:
                    row[:] = [
                        a - config.kl_coef * kl for a, kl in zip(row, kl_to_go(transition), strict=True)
                    ]
        if config.adv_norm == "none":
            return rows
        keys = ["" if config.adv_norm == "all" else transition.turn.agent for transition in transitions]
        by_action = config.norm_weighting == "action"
        return whiten(rows, keys, by_action=by_action, deviation=config.deviation, returns=values)

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Returns each row's weight per token, as ``loss_agg`` says."""
        return losses.aggregation(transitions, self.config.loss_agg)

    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """PPO's clipped objective, with the dual clip if it is set."""
        config = self.config
        return losses.clipped(
            ratios.ratio, batch.advantages, config.clip_low, config.clip_high, config.dual_clip
        )

    def kl_loss(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> torch.Tensor | None:
        """The k2 estimate, weighted so that its gradient is right off-policy as well."""
        if self.config.kl != "loss_k2":
            return None
        return self.config.kl_coef * losses.k2_loss(logprobs, ratios, batch)


if __name__ == "__main__":
    from learners.train import main

    main("reinforcepp")

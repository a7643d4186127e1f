"""REINFORCE++ (arXiv 2501.03262) on coach scores of single actions, as MAPPA (arXiv 2601.23228) uses it.

For token t of action k:  A_t = G_k - beta * sum_{u >= t} k1_u,  with k1 = log pi_old - log pi_ref and G_k the
(discounted) sum of the rewards that are credited to action k, less a baseline. A is then whitened over all of
an agent's tokens of the batch and goes into PPO's clipped objective, without a critic.

Where this departs from the paper: see ``learners.algorithms.settings``. The statistics are an agent's own by default;
the KL term may be in the loss, or absent. pi_old in k1 is the policy that sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conf import ConfigError
from learners.algorithms import losses
from learners.algorithms.advantages import earned, kl_to_go, spread_over_tokens, subtract_baseline, whiten
from learners.algorithms.settings import Settings, check_choice, check_clip
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

CHOICES = {
    "baseline": ("none", "prompt_mean", "leave_one_out", "agent_turn_kind"),
    "kl": ("off", "reward_k1", "loss_k2"),
    "loss_agg": ("token", "sequence", "prompt"),
    "adv_norm": ("agent", "all", "none"),
    "norm_weighting": ("token", "action"),
}


class ReinforcePP:
    """Advantages and loss of REINFORCE++; see the module's docstring."""

    @dataclass
    class Config(Settings):
        baseline: str
        """Subtracted from returns: ``none``, the mean of the same prompt (``prompt_mean``), of its other rows
        (``leave_one_out``), or of the same agent, turn and kind of task (``agent_turn_kind``), which removes
        a coach's bias for a kind. A prompt is an (agent, task, turn): inputs of later turns differ, so there
        the prompt baselines are approximate."""
        kl: str
        """To the initial weights: ``off``, in the reward (``reward_k1``), or in the loss (``loss_k2``)."""
        kl_coef: float
        clip_low: float
        clip_high: float
        """The ratio to the policy before the update pays only within [1 - clip_low, 1 + clip_high]."""
        dual_clip: float | None
        """Bounds what a bad action may cost at this multiple of its advantage; above 1, or null."""
        loss_agg: str
        """The mean over all tokens; over sequences of their means; or over prompts of their token means."""
        adv_norm: str
        """Whitening over each agent's tokens, over all agents', or none."""
        norm_weighting: str
        """In its statistics every token counts the same, or every action."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for key, allowed in CHOICES.items():
                check_choice(self, key, allowed)
            check_clip(self.clip_low, self.clip_high)
            if self.dual_clip is not None and self.dual_clip <= 1.0:
                raise ConfigError(f"algorithm.dual_clip must be above 1 or null, not {self.dual_clip}")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.needs_reference = config.kl != "off"

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Per-token advantages of all agents' transitions of a step, in order; None: not trained on.

        Raises:
            ValueError: ``kl: reward_k1`` and a row has no ``ref_logprobs``.
        """
        config = self.config
        values = subtract_baseline(transitions, earned(transitions, config), config.baseline)
        rows = spread_over_tokens(transitions, values)
        if config.kl == "reward_k1":
            for transition, row in zip(transitions, rows, strict=True):
                if row is not None:
                    row[:] = [
                        a - config.kl_coef * kl for a, kl in zip(row, kl_to_go(transition), strict=True)
                    ]
        if config.adv_norm == "none":
            return rows
        groups = ["" if config.adv_norm == "all" else transition.turn.agent for transition in transitions]
        return whiten(rows, groups, by_action=config.norm_weighting == "action")

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """See ``learners.algorithms.losses.aggregation``."""
        return losses.aggregation(transitions, self.config.loss_agg)

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """PPO's clipped loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: those of ``learners.algorithms.losses.Ratios``; ``policy_loss``; ``clip_fraction``, the share of
        tokens whose gradient the clip removes; ``kl_loss``.

        Raises:
            ValueError: ``kl: loss_k2`` and the batch has no ``ref_logprobs``.
        """
        config = self.config
        found = losses.compare(logprobs, batch, config)
        weights = batch.weights * found.importance
        objective, cut = losses.clipped(
            found.ratio, batch.advantages, config.clip_low, config.clip_high, config.dual_clip
        )
        loss = policy_loss = -(weights * objective).sum()
        metrics = {"policy_loss": policy_loss, "clip_fraction": (batch.weights * cut).sum()}
        if config.kl == "loss_k2":
            # Weighted by the ratio too, so that the gradient is that of the new policy's KL off-policy as
            # well (arXiv 2510.01555); on-policy, the ratio is 1.
            drift = losses.k2(logprobs, batch)
            metrics["kl_loss"] = config.kl_coef * (weights * found.ratio.detach() * drift).sum()
            loss = loss + metrics["kl_loss"]
        return loss, losses.floats(metrics | found.metrics)


if __name__ == "__main__":
    from learners.train import main

    main("reinforcepp")

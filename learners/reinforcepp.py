"""REINFORCE++ (arXiv 2501.03262) on coach scores of single actions, as MAPPA (arXiv 2601.23228) uses it.

For token t of action k:  A_t = G_k - beta * sum_{u >= t} k1_u,  with k1 = log pi_old - log pi_ref and G_k the
(discounted) sum of the rewards that are credited to action k, less a baseline. A is then whitened over all of
an agent's tokens of the batch and goes into PPO's clipped objective, without a critic.

Where this departs from the paper: what is credited to an action is a choice (``credit``), for an episode has
many scored actions and not one final reward; the statistics are an agent's own by default; the KL term may
be in the loss, or absent; truncated and unscored actions are left out of loss, statistics and denominators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from conf import ConfigError
from learners.advantages import returns, subtract_baseline, whiten
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch

CHOICES = {
    "credit": ("action", "agent", "team"),
    "baseline": ("none", "prompt_mean", "leave_one_out", "agent_turn_kind"),
    "kl": ("off", "reward_k1", "loss_k2"),
    "loss_agg": ("token", "sequence", "prompt"),
    "truncated": ("mask", "penalty", "keep"),
    "adv_norm": ("agent", "all", "none"),
    "norm_weighting": ("token", "action"),
}


class ReinforcePP:
    """Advantages and loss of REINFORCE++; see the module's docstring."""

    @dataclass
    class Config:
        credit: str
        """Whose rewards an action is credited with: its own (``action``), its agent's from it on (``agent``),
        or all agents' from it on (``team``)."""
        gamma: float
        """Discount for each action between. Scores are never negative, so at 1 ``agent`` and ``team`` pay for
        early and for many actions: use a baseline."""
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
        """The ratio to the sampling policy pays only within [1 - clip_low, 1 + clip_high]."""
        dual_clip: float | None
        """Bounds what a bad action may cost at this multiple of its advantage; above 1, or null."""
        loss_agg: str
        """The mean over all tokens; over sequences of their means; or over prompts of their token means."""
        truncated: str
        """What happens to a completion that ran out of tokens: not trained on (``mask``), its return lowered
        by ``truncated_penalty`` (``penalty``), or nothing (``keep``)."""
        truncated_penalty: float
        """In scaled reward."""
        adv_norm: str
        """Whitening over each agent's tokens, over all agents', or none."""
        norm_weighting: str
        """In its statistics every token counts the same, or every action."""
        reward_scale: float
        """Rewards are multiplied by this first; 0.1 turns scores of 0 to 10 into 0 to 1."""

        def __post_init__(self) -> None:
            for key, allowed in CHOICES.items():
                if getattr(self, key) not in allowed:
                    known = ", ".join(allowed)
                    raise ConfigError(f"algorithm.{key} must be one of {known}, not {getattr(self, key)!r}")
            if not 0.0 <= self.gamma <= 1.0:
                raise ConfigError(f"algorithm.gamma must lie in [0, 1], not {self.gamma}")
            if self.dual_clip is not None and self.dual_clip <= 1.0:
                raise ConfigError(f"algorithm.dual_clip must be above 1 or null, not {self.dual_clip}")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.needs_reference = config.kl != "off"

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Per-token advantages of all agents' transitions of a step, in order; None: not trained on.

        A row is left out when a reward that its return needs is unknown, when it is truncated and
        ``truncated`` is ``mask``, or when nothing was sampled.

        Raises:
            ValueError: ``kl: reward_k1`` and a row has no ``ref_logprobs``.
        """
        config = self.config
        values = returns(transitions, credit=config.credit, gamma=config.gamma, scale=config.reward_scale)
        for i, transition in enumerate(transitions):
            cut = transition.completion.finish_reason == "length"
            if not transition.completion.token_ids or (cut and config.truncated == "mask"):
                values[i] = None
            elif cut and config.truncated == "penalty" and (value := values[i]) is not None:
                values[i] = value - config.truncated_penalty
        values = subtract_baseline(transitions, values, config.baseline)
        rows = [
            None if value is None else self._tokens(transition, value)
            for transition, value in zip(transitions, values, strict=True)
        ]
        if config.adv_norm == "none":
            return rows
        groups = ["" if config.adv_norm == "all" else transition.turn.agent for transition in transitions]
        return whiten(rows, groups, by_action=config.norm_weighting == "action")

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Each row's weight per token; over all rows and tokens they add up to 1."""
        lengths = [len(transition.completion.token_ids) for transition in transitions]
        if self.config.loss_agg == "token":
            return [1.0 / sum(lengths)] * len(lengths)
        if self.config.loss_agg == "sequence":
            return [1.0 / (len(lengths) * length) for length in lengths]
        prompts = [(t.turn.agent, t.turn.task_id, t.turn.attempt) for t in transitions]
        tokens = dict.fromkeys(prompts, 0)
        for prompt, length in zip(prompts, lengths, strict=True):
            tokens[prompt] += length
        return [1.0 / (len(tokens) * tokens[prompt]) for prompt in prompts]

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """PPO's clipped loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: ``policy_loss``; ``clip_fraction``, the share of tokens whose gradient the clip removes;
        ``approx_kl``, sampling policy to new (the k3 estimate, never negative); ``reference_kl`` (k1), where
        a reference is known; ``kl_loss``.

        Raises:
            ValueError: ``kl: loss_k2`` and the batch has no ``ref_logprobs``.
        """
        config, advantages, weights = self.config, batch.advantages, batch.weights
        # Beyond e^20 the ratio is clipped anyway, but its exp would overflow and make NaN gradients.
        log_ratio = (logprobs - batch.old_logprobs).clamp(-20.0, 20.0)
        ratio = log_ratio.exp()
        free = ratio * advantages
        objective = free.minimum(ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high) * advantages)
        if config.dual_clip is not None:
            floor = config.dual_clip * advantages
            objective = objective.maximum(floor).where(advantages < 0, objective)
        loss = policy_loss = -(weights * objective).sum()
        metrics = {
            "policy_loss": policy_loss,
            "clip_fraction": (weights * (objective != free)).sum(),
            "approx_kl": (weights * (ratio - 1.0 - log_ratio)).sum(),
        }
        if config.kl == "loss_k2":
            # Weighted by the ratio, so that the gradient is that of the new policy's KL off-policy too
            # (arXiv 2510.01555); on-policy, the ratio is 1.
            drift = logprobs - _reference(batch)
            kl_loss = config.kl_coef * (weights * ratio.detach() * 0.5 * drift**2).sum()
            loss = loss + kl_loss
            metrics["kl_loss"] = kl_loss
        if batch.ref_logprobs is not None:
            metrics["reference_kl"] = (weights * (logprobs - batch.ref_logprobs)).sum()
        return loss, {name: float(value.detach()) for name, value in metrics.items()}

    def _tokens(self, transition: Transition, value: float) -> list[float]:
        """A_t of one row before whitening."""
        completion, reference = transition.completion, transition.ref_logprobs
        if self.config.kl != "reward_k1":
            return [value] * len(completion.token_ids)
        if reference is None:
            raise ValueError("kl=reward_k1 needs ref_logprobs in every transition")
        k1 = [old - ref for old, ref in zip(completion.logprobs, reference, strict=True)]
        to_go = list(accumulate(reversed(k1)))[::-1]
        return [value - self.config.kl_coef * later for later in to_go]


def _reference(batch: Batch) -> torch.Tensor:
    if batch.ref_logprobs is None:
        raise ValueError("kl=loss_k2 needs ref_logprobs in every transition")
    return batch.ref_logprobs


if __name__ == "__main__":
    from learners.train import main

    main("reinforcepp")

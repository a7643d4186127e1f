# my_parts/vanilla.py
"""Policy gradient with the mean reward of the agent's actions as the baseline; no clipping, no KL term."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch


class Vanilla:
    @dataclass
    class Config:
        scale: float
        """Rewards, in [0, 10], are multiplied by this."""

    needs_reference = False

    def __init__(self, config: Config) -> None:
        self.scale = config.scale

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """One value per sampled token; None for a row without a reward, which is then left out."""
        rewards = defaultdict(list)
        for row in transitions:
            if row.reward is not None:
                rewards[row.turn.agent].append(row.reward)
        baselines = {agent: fmean(values) for agent, values in rewards.items()}
        return [
            None
            if row.reward is None or not row.completion.token_ids
            else [self.scale * (row.reward - baselines[row.turn.agent])] * len(row.completion.token_ids)
            for row in transitions
        ]

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        """The loss is the mean over all tokens of the optimiser step."""
        tokens = sum(len(row.completion.token_ids) for row in transitions)
        return [1.0 / tokens] * len(transitions)

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss and metrics of a micro-batch, as sums: the updater adds micro-batches up."""
        loss = -(batch.token_weights * batch.advantages * logprobs).sum()
        return loss, {"vanilla_loss": loss.detach()}

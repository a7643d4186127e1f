"""CISPO (MiniMax-M1, arXiv 2506.13585) on coach scores of single actions.

The loss is -sg[min(rho, ratio_cap)] * A * log pi, the mean over all tokens, with GRPO's group-relative A and
no KL term. The cap bounds how much a token that became likelier counts, where PPO's clip takes its gradient
away: rare tokens on which an action hinges go on learning. As in the paper there is no lower bound.

Where this departs from the paper: see ``learners.algorithms.settings``. The cap's value is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conf import ConfigError
from learners.algorithms import losses
from learners.algorithms.advantages import earned, group_relative, spread_over_tokens
from learners.algorithms.settings import GroupSettings
from learners.base import Metrics
from learners.types import Batch, Transition

if TYPE_CHECKING:
    import torch


class Cispo:
    """Advantages and loss of CISPO; see the module's docstring."""

    needs_reference = False

    @dataclass
    class Config(GroupSettings):
        deviation: bool
        """Divide by the group's standard deviation."""
        ratio_cap: float
        """The most that a ratio to the policy before the update counts; there is no lower bound."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.ratio_cap < 1.0:
                raise ConfigError(f"algorithm.ratio_cap must be at least 1, not {self.ratio_cap}")

    def __init__(self, config: Config) -> None:
        self.config = config

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Each action's value within its group, for all its tokens; None: not trained on."""
        config = self.config
        values = group_relative(
            transitions, earned(transitions, config), config.group, deviation=config.deviation
        )
        return spread_over_tokens(transitions, values)

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """The same for every token; see ``learners.algorithms.losses.aggregation``."""
        return losses.aggregation(transitions, "token")

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """CISPO's loss of a (micro-)batch, and metrics as sums of ``weight * value``: both add up.

        Metrics: those of ``learners.algorithms.losses.Ratios``; ``policy_loss``; ``cap_fraction``, the share of
        tokens whose ratio was capped.
        """
        found = losses.compare(logprobs, batch, self.config)
        ratio = found.ratio.detach()
        capped = ratio.clamp(max=self.config.ratio_cap)
        loss = -(batch.weights * found.importance * capped * batch.advantages * logprobs).sum()
        metrics = {"policy_loss": loss, "cap_fraction": (batch.weights * (capped < ratio)).sum()}
        return loss, losses.floats(metrics | found.metrics)


if __name__ == "__main__":
    from learners.train import main

    main("cispo")

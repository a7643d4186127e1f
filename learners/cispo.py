"""CISPO (MiniMax-M1, arXiv 2506.13585) on coach scores of single actions.

The loss is -sg[min(rho, ratio_cap)] * A * log pi, the mean over all tokens, with GRPO's group-relative A and
no KL term. The cap limits the weight of a token that became more likely, where PPO's clip removes its
gradient: rare tokens that an action hinges on keep being learned. As in the paper there is no lower bound.

Departures from the paper: see ``learners.algorithms.settings``. The cap's value is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from conf.ranges import Range
from learners.algorithms.base import GroupRelative
from learners.algorithms.losses import Objective, Ratios
from learners.algorithms.settings import GroupRelativeSettings
from learners.types import Batch

if TYPE_CHECKING:
    import torch


class Cispo(GroupRelative):
    """Loss of CISPO, with group-relative advantages; see the module's docstring."""

    @dataclass
    class Config(GroupRelativeSettings):
        ratio_cap: Annotated[float, Range(least=1)]
        """Upper bound of a token's ratio to the policy before the update; there is no lower bound."""

    config: Config

    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """CISPO's objective; ``cap_fraction`` is the share of tokens whose ratio was capped."""
        ratio = ratios.ratio.detach()
        capped = ratio.clamp(max=self.config.ratio_cap)
        return Objective(capped * batch.advantages * logprobs, {"cap_fraction": capped < ratio})


if __name__ == "__main__":
    from learners.train import main

    main("cispo")

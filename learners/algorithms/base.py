"""What the policy-gradient algorithms have in common; each algorithm's file adds what its paper is about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from learners.algorithms import losses
from learners.algorithms.advantages import credited_returns, group_relative, spread_over_tokens
from learners.algorithms.losses import Objective, Ratios, Terms
from learners.algorithms.settings import GroupRelativeSettings, Settings
from learners.types import Batch, LossMetrics, Transition

if TYPE_CHECKING:
    import torch


class PolicyGradient(ABC):
    """An algorithm whose loss is minus an objective of single tokens, plus a KL term if it has one.

    A subclass has a nested ``Config``, which inherits from ``Settings``, and defines ``advantages`` and
    ``objective``.
    """

    config: Settings

    def __init__(self, config: Settings, *, needs_reference: bool = False) -> None:
        self.config = config
        self.needs_reference = needs_reference

    @abstractmethod
    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """See ``learners.base.Algorithm.advantages``."""

    @abstractmethod
    def objective(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> Objective:
        """What the paper maximises for each token, given the new ``logprobs`` [N]."""

    def kl_loss(self, logprobs: torch.Tensor, ratios: Ratios, batch: Batch) -> torch.Tensor | None:
        """The KL term of the loss, a scalar: the sum of ``weight * coefficient * estimate``. None: no such
        term.

        Raises:
            ValueError: the batch has no ``ref_logprobs``.
        """
        return None

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Each row's weight per token. By default the loss is the mean over all tokens of the step."""
        return losses.aggregation(transitions, "token")

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, LossMetrics]:
        """Computes the loss of a (micro-)batch from new logprobs [N].

        The loss and all metrics are sums of ``weight * value``, so those of a step's micro-batches add up.
        Metrics: ``policy_loss``; the objective's shares, such as ``clip_fraction``; ``kl_loss`` if there is a
        KL term; and those of ``learners.algorithms.losses.Ratios``.

        Raises:
            ValueError: there is a KL term in the loss and the batch has no ``ref_logprobs``.
        """
        ratios = losses.compare(logprobs, batch, self.config)
        objective = self.objective(logprobs, ratios, batch)
        loss = policy_loss = -(batch.token_weights * ratios.importance * objective.values).sum()
        metrics = {"policy_loss": policy_loss}
        for name, tokens in objective.shares.items():
            metrics[name] = (batch.token_weights * tokens).sum()
        kl_loss = self.kl_loss(logprobs, ratios, batch)
        if kl_loss is not None:
            metrics["kl_loss"] = kl_loss
            loss = loss + kl_loss
        return loss, {name: value.detach() for name, value in (metrics | ratios.metrics).items()}

    def terms(self, logprobs: torch.Tensor, batch: Batch) -> Terms:
        """Returns what ``loss`` makes of each token, given the same; ``logprobs`` without gradient."""
        ratios = losses.compare(logprobs, batch, self.config)
        objective = self.objective(logprobs, ratios, batch)
        ratio = ratios.ratio if objective.ratio is None else objective.ratio
        return Terms(ratio, ratios.importance, {"importance_limited": ratios.limited, **objective.shares})


class GroupRelative(PolicyGradient):
    """GRPO's advantages (arXiv 2402.03300): A = (G - mean of the group) / standard deviation of the group."""

    config: GroupRelativeSettings

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Returns each action's value within its group, for all its tokens; None: not trained on."""
        config = self.config
        values = group_relative(
            transitions, credited_returns(transitions, config), config.group, deviation=config.deviation
        )
        return spread_over_tokens(transitions, values)

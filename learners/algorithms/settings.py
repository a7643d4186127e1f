"""The settings that every algorithm has; its own ``Config`` inherits from these and adds what is its own.

They say, too, where all algorithms here depart from their papers. What is credited to an action is a choice
(``credit``), for an episode has many scored actions and not one final reward. Truncated and unscored actions
are left out of groups, statistics, loss and denominators. Ratios are to the trainer's policy before the
update, and the policy that sampled enters by importance weights (``is_correction``), where papers have one
ratio for both. A group is what ``group`` says, for in a pipeline prompts differ inside of it, and a row
without peers is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conf import ConfigError

CREDIT = ("action", "agent", "team")
TRUNCATED = ("mask", "penalty", "keep")
CORRECTIONS = ("off", "token", "sequence", "icepop")
GROUPS = ("turn", "prompt")


@dataclass
class Settings:
    """What an action has earned, and how far the policy that sampled it is trusted."""

    credit: str
    """Whose rewards an action is credited with: its own (``action``), its agent's from it on (``agent``), or
    all agents' from it on (``team``)."""
    gamma: float
    """Discount for each action between. Scores are never negative, so at 1 ``agent`` and ``team`` pay for
    early and for many actions: use a baseline."""
    reward_scale: float
    """Rewards are multiplied by this first; 0.1 turns scores of 0 to 10 into 0 to 1."""
    truncated: str
    """What happens to a completion that ran out of tokens: not trained on (``mask``), its return lowered by
    ``truncated_penalty`` (``penalty``), or nothing (``keep``)."""
    truncated_penalty: float
    """In scaled reward."""
    is_correction: str
    """Weighs tokens by w = pi_trainer / pi_sampling, both before the update, for the engine that samples and
    the trainer never agree quite and samples may be stale: each token by its own w, at most ``is_cap``
    (``token``), by the product over its row, at most ``is_cap`` (``sequence``), by its own w or, outside
    [``icepop_low``, ``icepop_high``], by 0 (``icepop``); or not at all (``off``). See
    ``learners.algorithms.losses.importance``."""
    is_cap: float
    icepop_low: float
    icepop_high: float

    def __post_init__(self) -> None:
        check_choice(self, "credit", CREDIT)
        check_choice(self, "truncated", TRUNCATED)
        check_choice(self, "is_correction", CORRECTIONS)
        if not 0.0 <= self.gamma <= 1.0:
            raise ConfigError(f"algorithm.gamma must lie in [0, 1], not {self.gamma}")
        if self.is_cap < 1.0:
            raise ConfigError(f"algorithm.is_cap must be at least 1, not {self.is_cap}")
        if not 0.0 <= self.icepop_low <= 1.0 <= self.icepop_high:
            found = f"[{self.icepop_low}, {self.icepop_high}]"
            raise ConfigError(f"algorithm.icepop_low and icepop_high must enclose 1, not {found}")


@dataclass
class GroupSettings(Settings):
    """Those of algorithms that compare an action with others like it."""

    group: str
    """Which: those of the same agent, task and turn (``turn``), or only those that answer the very same
    prompt, token for token (``prompt``). See ``learners.algorithms.advantages.peers``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "group", GROUPS)


def check_choice(config: Any, key: str, allowed: Sequence[str]) -> None:
    """Raises ``ConfigError`` where ``config`` has none of the ``allowed`` values under ``key``."""
    value = getattr(config, key)
    if value not in allowed:
        raise ConfigError(f"algorithm.{key} must be one of {', '.join(allowed)}, not {value!r}")


def check_clip(low: float, high: float) -> None:
    """Raises ``ConfigError`` where [1 - low, 1 + high] is no range of ratios."""
    if not 0.0 <= low <= 1.0 or high < 0.0:
        raise ConfigError(
            f"algorithm.clip_low must lie in [0, 1] and clip_high be at least 0, not {low} and {high}"
        )

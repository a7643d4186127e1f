"""The settings that all algorithms share; an algorithm's own ``Config`` inherits from one of these classes
and adds its own.

They are also where all algorithms here depart from their papers:

- An episode has many scored actions, not one final reward. ``credit`` chooses which rewards an action is
  credited with.
- Truncated and unscored actions are left out of groups, statistics, loss and denominators.
- Returns that are equal up to rounding have advantages of 0, whatever their KL term is.
- k1 is not clamped per token (OpenRLHF: to plus or minus 10), and standard deviations are those of a
  population unless ``deviation`` says otherwise (TRL's GRPO: of a sample).
- Ratios are relative to the trainer's policy before the update. The policy that sampled enters through
  importance weights (``importance_weighting``). The papers use one ratio for both.
- In a pipeline, the prompts within a group differ. ``group`` chooses which rows form one, and a row without a
  group is left out (see ``learners.algorithms.groups.groups``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from conf import ConfigError
from conf.ranges import NonNegative, Positive, Range, Share

CREDIT = ("action", "agent", "team")
TRUNCATED = ("mask", "penalty", "keep")
IMPORTANCE_WEIGHTING = ("off", "token", "sequence", "icepop")
GROUP = ("turn", "prompt")
DEVIATION = ("population", "sample")


@dataclass
class Settings:
    """How actions are credited, and how samples of another policy are weighted."""

    credit: str
    """Which rewards an action is credited with: its own (``action``), its agent's from it on (``agent``), or
    all agents' from it on (``team``)."""
    gamma: Share
    """Discount factor per action in between. Scores are never negative, so with 1 ``agent`` and ``team``
    favor early actions and many actions: use a baseline."""
    reward_scale: Positive
    """Factor that rewards are multiplied by first; 0.1 maps scores from 0 to 10 to the range from 0 to 1."""
    truncated: str
    """What to do with a completion that ran out of tokens: do not train on it (``mask``), subtract
    ``truncated_penalty`` from its return (``penalty``), or treat it like any other (``keep``)."""
    truncated_penalty: NonNegative
    """In units of scaled reward."""
    importance_weighting: str
    """Whether tokens are weighted by w = pi_trainer / pi_sampling, both before the update: inference engine
    and trainer never agree exactly, and samples may be stale. ``token``: each token's own w, capped at
    ``importance_cap``. ``sequence``: the product over the row, capped at ``importance_cap``. ``icepop``: each
    token's own w, or 0 outside [``icepop_low``, ``icepop_high``]. ``off``: no weights. See
    ``learners.algorithms.losses.importance``."""
    importance_cap: Annotated[float, Range(least=1)]
    icepop_low: Share
    icepop_high: Annotated[float, Range(least=1)]

    def __post_init__(self) -> None:
        check_choice(self, "credit", CREDIT)
        check_choice(self, "truncated", TRUNCATED)
        check_choice(self, "importance_weighting", IMPORTANCE_WEIGHTING)


@dataclass
class GroupSettings(Settings):
    """Settings of algorithms that compare an action with similar ones."""

    group: str
    """Which actions are compared: those of the same agent, task and turn (``turn``), or only those that
    answer the same prompt, token for token (``prompt``). See ``learners.algorithms.groups.groups``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "group", GROUP)


@dataclass
class GroupRelativeSettings(GroupSettings):
    """Settings of algorithms with GRPO's advantages."""

    deviation: bool | str
    """The standard deviation of the group that values are divided by: with its size as the denominator
    (``population``, also ``true``), or one less (``sample``). ``false``: they are not divided."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.deviation, bool) and self.deviation not in DEVIATION:
            raise ConfigError(
                f"algorithm.deviation must be {', '.join(DEVIATION)} or false, not {self.deviation!r}"
            )


def check_choice(config: Any, key: str, allowed: Sequence[str]) -> None:
    """Raises ``ConfigError`` if ``config.<key>`` is not one of the ``allowed`` values."""
    value = getattr(config, key)
    if value not in allowed:
        raise ConfigError(f"algorithm.{key} must be one of {', '.join(allowed)}, not {value!r}")

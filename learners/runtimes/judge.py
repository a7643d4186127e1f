"""The coach of a run. torch is not loaded here."""

from __future__ import annotations

from coaches.base import AnyCoach
from coaches.judging.inner import build_coach, check_ready
from learners.config import RunConfig


def build_judge(config: RunConfig) -> AnyCoach:
    """Builds the coach, and lets it check what it needs if the run asks it anything.

    Raises:
        ConfigError: its settings are invalid, or what it needs, such as its server, is not there.
    """
    coach = build_coach(config.coach)
    if config.steps or config.evaluation.coached:
        check_ready(coach)
    return coach

"""Rows for fine-tuning a process reward model, in the form that TRL's ``PRMTrainer`` reads."""

from __future__ import annotations

from typing import Any

from envs.types import Turn


def columns(turn: Turn, *, good: bool) -> dict[str, Any]:
    """Returns a turn as a prompt with one step and its label."""
    return {
        "prompt": "\n\n".join(message.content for message in turn.observation),
        "completions": [turn.action],
        "labels": [good],
    }

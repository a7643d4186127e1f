"""Acts for the agents after a recorded episode was changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from envs.types import Message


class Team(Protocol):
    """All agents of a pipeline as one plug-in: a module with one public class with a ``Config``.

    It must keep no state between calls, because branches of an episode are played in parallel.
    """

    def act(self, agent: str, messages: Sequence[Message], seed: int) -> str:
        """Returns the action of ``agent`` on reading ``messages``; the same action for the same seed.

        Raises:
            CoachError: there is no action.
        """
        ...

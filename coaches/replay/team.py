"""Who plays on where a recorded episode was changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from envs.types import Message


class Team(Protocol):
    """All agents of a pipeline, as one part: a module with one public class with a ``Config``, as any other.

    Nothing of what it is told may be kept: branches of an episode are played at once.
    """

    def act(self, agent: str, messages: Sequence[Message], seed: int) -> str:
        """The action of ``agent``, who reads ``messages``; the same for the same seed.

        Raises:
            CoachError: there is none to be had.
        """
        ...

"""The learner's exceptions."""

from __future__ import annotations


class TrainingError(Exception):
    """The run cannot continue; the message is one clear line."""


class LostError(TrainingError):
    """A process that the run needs died or missed its deadline. The newest checkpoint is intact."""

    def __init__(self, message: str, process: str = "") -> None:
        """``process``: name of the process that was lost."""
        super().__init__(message)
        self.process = process


class NonFiniteError(TrainingError):
    """A loss or gradient is NaN or infinite. The weights are still those from before the optimiser step."""


class EpisodeError(Exception):
    """An episode could not be finished, through no fault of its agents: it is counted, never scored."""


class AbortedError(Exception):
    """The lockstep session was aborted while this participant waited."""

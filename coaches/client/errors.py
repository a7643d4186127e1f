"""Why an endpoint gave no verdict: one class a cause, by which turns without a verdict are counted."""

from __future__ import annotations

from coaches.base import CoachError


class RateLimitError(CoachError):
    """429 until the deadline."""


class ServerError(CoachError):
    """5xx until the deadline."""


class ConnectionLostError(CoachError):
    """Nobody listens, or the connection broke off, until the deadline."""


class DeadlineError(CoachError):
    """The endpoint did not answer in time."""


class RequestError(CoachError):
    """4xx: the endpoint will not answer this request however often it is sent. ``status`` says which."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)  # alone, or it could not be pickled
        self.status = status


class ReplyError(CoachError):
    """The endpoint answered, and what it said is no verdict. Worth asking again, a few times."""


class BodyError(ReplyError):
    """The body is no chat completion: no JSON, half of one, or something else."""


class EmptyReplyError(ReplyError):
    """No choices, or one that says nothing."""


class RefusalError(ReplyError):
    """The model, or a filter before or behind it, refuses."""


class TruncatedReplyError(ReplyError):
    """The reply was cut off at the limit of tokens."""


class UnreadableReplyError(ReplyError):
    """The reply is not one JSON object of the asked form."""


class AmbiguousScoreError(ReplyError):
    """The reply holds more than one score."""


class ScoreRangeError(ReplyError):
    """The score is no finite number in [0, 10]."""

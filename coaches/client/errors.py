"""Why an endpoint gave no verdict: one exception class per cause, by which turns without a verdict are
counted."""

from __future__ import annotations

from coaches.base import CoachError


class RateLimitError(CoachError):
    """Status 429 until the deadline."""


class ServerError(CoachError):
    """Status 5xx (or a transient 4xx) until the deadline."""


class ConnectionLostError(CoachError):
    """The endpoint could not be reached, or the connection broke, until the deadline."""


class DeadlineError(CoachError):
    """The endpoint did not reply in time."""


class RequestError(CoachError):
    """Status 4xx: the endpoint rejects this request, and would do so again. ``status`` has the number."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)  # the only argument, or it could not be pickled
        self.status = status


class ReplyError(CoachError):
    """The endpoint replied, but the reply cannot be used. Asking again may help."""


class BodyError(ReplyError):
    """The body is not a chat completion, or not even JSON."""


class EmptyReplyError(ReplyError):
    """There are no choices, or the reply is empty."""


class RefusalError(ReplyError):
    """The model, or a content filter, refuses."""


class TruncatedReplyError(ReplyError):
    """The reply was cut off at the token limit."""


class UnreadableReplyError(ReplyError):
    """The reply is not one JSON object of the requested form."""


class AmbiguousScoreError(ReplyError):
    """The reply contains more than one score, or a key twice."""


class ScoreRangeError(ReplyError):
    """The score is not a finite number in [0, 10]."""

"""Reads an endpoint's responses without trusting them, and classifies errors by what to do. No network in
here."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from coaches.base import CoachError
from coaches.client import errors
from conf.text import loads, replace_unencodable

KEY = "[key]"
_PIECE = 8
"""Consecutive characters of the key that are redacted: endpoints often repeat parts of it in messages."""
_MESSAGE_CHARS = 300
_ABOUT_FORMAT = re.compile(r"response_?format|json_?schema|structured|grammar", re.IGNORECASE)
_TRANSIENT = {408, 409, 425, 429}
"""4xx statuses that may succeed on the next attempt."""
_jitter = random.SystemRandom()  # never the global stream, which a run's seed controls


@dataclass(frozen=True)
class Reply:
    """A model's reply, whatever it is."""

    text: str
    """Starts with the thinking, between ``<think>`` and ``</think>``, if the endpoint reports it
    separately."""
    truncated: bool
    """It reached the limit of tokens."""


class TransientError(Exception):
    """The same request may succeed if it is sent again."""

    def __init__(
        self, error: CoachError, retry_after: float | None = None, *, unbilled: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        """The error to raise if there is no time for another attempt."""
        self.retry_after = retry_after
        """Seconds that the endpoint asks to wait; None: it did not say."""
        self.unbilled = unbilled
        """The endpoint refused before it did any work, so nothing is charged."""


class SchemaRefusedError(Exception):
    """The endpoint may have refused only ``response_format``; another form may succeed."""

    def __init__(self, otherwise: Exception) -> None:
        super().__init__(str(otherwise))
        self.otherwise = otherwise
        """The error to raise if the form was not the reason."""


def is_loopback(url: str) -> bool:
    """Returns whether the host of ``url`` is this machine, by a name or an address that no network routes."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def redacted(text: str, key: str | None) -> str:
    """Returns ``text`` without the key and without any piece of it of at least 8 characters."""
    if not key:
        return text
    text = text.replace(key, KEY)
    pieces = {key[i : i + _PIECE] for i in range(len(key) - _PIECE + 1)}
    hit = [False] * len(text)
    for piece in pieces:
        at = text.find(piece)
        while at >= 0:
            hit[at : at + _PIECE] = [True] * _PIECE
            at = text.find(piece, at + 1)
    return re.sub("\0+", KEY, "".join("\0" if gone else c for c, gone in zip(text, hit, strict=True)))


def body(text: str) -> Any:
    """Returns a response's JSON. Raises ``errors.BodyError``."""
    try:
        return loads(text)
    except (ValueError, RecursionError):
        raise errors.BodyError("the body of the response is not JSON") from None


def usage(body: Any) -> tuple[int, int] | None:
    """Returns prompt and completion tokens, or None unless the endpoint reports valid numbers for both."""
    reported = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(reported, dict):
        return None
    counts = [reported.get("prompt_tokens"), reported.get("completion_tokens")]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return None
    return counts[0], counts[1]  # type: ignore[return-value]


def text(body: Any) -> str:
    """Returns the text of a complete reply.

    Raises:
        BodyError: the body is not a chat completion.
        EmptyReplyError, RefusalError, TruncatedReplyError: it is one, but has no complete reply.
    """
    choice, message = _choice(body)
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        raise errors.RefusalError("the model refused")
    if choice.get("finish_reason") == "length":
        raise errors.TruncatedReplyError("the reply exceeded the token limit; be brief")
    content = message.get("content")
    if content is None or content == "":
        raise errors.EmptyReplyError("the reply is empty")
    if not isinstance(content, str):
        raise errors.BodyError("the reply is not text")
    return content


def reply(body: Any) -> Reply:
    """Returns the reply, whatever it is.

    A refusal counts as the reply; text removed by a filter is missing.

    Raises:
        BodyError: the body is not a chat completion.
        EmptyReplyError: it has no choices.
    """
    choice, message = _choice(body)
    content = message.get("content") or message.get("refusal") or ""
    thinking = message.get("reasoning_content") or message.get("reasoning") or ""
    if not isinstance(content, str) or not isinstance(thinking, str):
        raise errors.BodyError("the reply is not text")
    truncated = choice.get("finish_reason") == "length"
    if thinking and truncated and not content:
        return Reply(f"<think>\n{thinking}", truncated)
    return Reply(f"<think>\n{thinking}\n</think>\n\n{content}" if thinking else content, truncated)


def _choice(body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the first choice of a chat completion, and its message."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        raise errors.BodyError("the response is not a chat completion")
    if not choices:
        raise errors.EmptyReplyError("the response has no choices")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise errors.BodyError("the response is not a chat completion")
    return choice, message


def status_error(status: int, headers: Mapping[str, str], text: str, request: Mapping[str, Any]) -> Exception:
    """Returns the error for an error status: ``TransientError``, ``SchemaRefusedError`` or ``RequestError``.

    ``text`` is the body of the response, already redacted; ``request`` the body of the request.
    """
    form = "response_format" in request
    refused = form and (status in (400, 422) or (status >= 500 and bool(_ABOUT_FORMAT.search(text))))
    error = _without_form(status, headers, f"status {status}: {_message(text)}")
    return SchemaRefusedError(error) if refused else error


def _without_form(status: int, headers: Mapping[str, str], message: str) -> Exception:
    after = retry_after(headers)
    if status == 429:
        return TransientError(errors.RateLimitError(message), after, unbilled=True)
    if status >= 500 or status in _TRANSIENT:
        return TransientError(errors.ServerError(message), after, unbilled=True)
    return errors.RequestError(message, status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds to wait, from ``Retry-After`` in seconds or as a date; None if it has neither."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds else None


def pause(error: TransientError, backoff: float, retries: int) -> float:
    """Returns the seconds before the next attempt: ``Retry-After`` or exponential backoff, with jitter.

    Not one of tenacity's waits: those draw their jitter from the global random stream.
    """
    factor = 0.5 + _jitter.random()
    if error.retry_after is not None:
        return error.retry_after + backoff * factor / 2
    return backoff * 2.0 ** min(retries, 16) * factor


def _message(text: str) -> str:
    """Returns the error's own message, on one short line."""
    try:
        values = loads(text)
        inner = values.get("error", values)
        message = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, AttributeError, RecursionError):
        message = text
    return replace_unencodable(" ".join(str(message).split())[:_MESSAGE_CHARS]) or "no reason given"

"""What an endpoint sends, read with distrust and sorted by what to do about it. No network in here."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from coaches.base import CoachError
from coaches.client import errors

KEY = "[key]"
_PIECE = 8
"""Characters of a key in a row that are taken out: endpoints like to repeat parts of it."""
_SAID = 300
_ABOUT_FORMAT = re.compile(r"response_?format|json_?schema|structured|grammar", re.IGNORECASE)
_PASSING = {408, 409, 425, 429}
"""Statuses of 4xx that may be gone on the next try."""
_jitter = random.SystemRandom()  # never the streams that a run's seed decides


@dataclass(frozen=True)
class Reply:
    """What a model said."""

    text: str
    """Its thinking first, between ``<think>`` and ``</think>``, where the endpoint tells it apart."""
    cut: bool
    """It ran out of tokens."""


class TransientError(Exception):
    """The same request may well be answered if it is sent again."""

    def __init__(
        self, error: CoachError, retry_after: float | None = None, *, unbilled: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        """What is raised if there is no time left."""
        self.retry_after = retry_after
        """Seconds that the endpoint asks to wait."""
        self.unbilled = unbilled
        """The endpoint said no before it did any work."""


class SchemaRefusedError(Exception):
    """The endpoint may refuse only the form in which it was asked to answer."""

    def __init__(self, otherwise: Exception) -> None:
        super().__init__(str(otherwise))
        self.otherwise = otherwise
        """What it is if the form was not the reason."""


def redacted(text: str, key: str | None) -> str:
    """``text`` without the key, and without any longer piece of it."""
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
    """A response's JSON. Raises ``errors.BodyError``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise errors.BodyError("the body of the answer is not JSON") from None


def usage(body: Any) -> tuple[int, int] | None:
    """Prompt and completion tokens, if the endpoint tells both and they make sense."""
    told = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        return None
    counts = [told.get("prompt_tokens"), told.get("completion_tokens")]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return None
    return counts[0], counts[1]  # type: ignore[return-value]


def text(body: Any) -> str:
    """What the model said.

    Raises:
        BodyError: this is no chat completion.
        EmptyReplyError, RefusalError, TruncatedReplyError: it is one, and says nothing that could be read.
    """
    choice, message = _choice(body)
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        raise errors.RefusalError("the model refuses")
    if choice.get("finish_reason") == "length":
        raise errors.TruncatedReplyError("the answer was longer than allowed; be brief")
    content = message.get("content")
    if content is None or content == "":
        raise errors.EmptyReplyError("the answer is empty")
    if not isinstance(content, str):
        raise errors.BodyError("the answer is no text")
    return content


def reply(body: Any) -> Reply:
    """What the model said, whatever it was.

    A refusal is what it said in place of an answer; what a filter took away is missing.

    Raises:
        BodyError, EmptyReplyError: this is no chat completion, or one without choices.
    """
    choice, message = _choice(body)
    said = message.get("content") or message.get("refusal") or ""
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    if not isinstance(said, str) or not isinstance(thought, str):
        raise errors.BodyError("the answer is no text")
    cut = choice.get("finish_reason") == "length"
    if thought:
        said = f"<think>\n{thought}" if cut and not said else f"<think>\n{thought}\n</think>\n\n{said}"
    return Reply(said, cut)


def _choice(body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chat completion's first choice, and the message in it."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        raise errors.BodyError("the answer is no chat completion")
    if not choices:
        raise errors.EmptyReplyError("the answer has no choices")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise errors.BodyError("the answer is no chat completion")
    return choice, message


def fault(status: int, headers: Mapping[str, str], said: str, request: Mapping[str, Any]) -> Exception:
    """What to do about an answer with an error status: a ``TransientError``, a ``SchemaRefusedError`` or,
    where nothing can be done, a ``RequestError``. ``said`` must be redacted already."""
    form = "response_format" in request
    refused = form and (status in (400, 422) or (status >= 500 and bool(_ABOUT_FORMAT.search(said))))
    plain = _plain(status, headers, f"status {status}: {_message(said)}")
    return SchemaRefusedError(plain) if refused else plain


def _plain(status: int, headers: Mapping[str, str], message: str) -> Exception:
    after = retry_after(headers)
    if status == 429:
        return TransientError(errors.RateLimitError(message), after, unbilled=True)
    if status >= 500 or status in _PASSING:
        return TransientError(errors.ServerError(message), after, unbilled=True)
    return errors.RequestError(message, status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``Retry-After`` in seconds or as a date; None where it says nothing of use."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds == seconds else None


def pause(passing: TransientError, backoff: float, retries: int) -> float:
    """Seconds before the next try: what the endpoint asks for or an exponential backoff, with jitter."""
    spread = 0.5 + _jitter.random()
    if passing.retry_after is not None:
        return passing.retry_after + backoff * spread / 2
    return backoff * 2.0 ** min(retries, 16) * spread


def _message(said: str) -> str:
    """The error's own words, in one short line."""
    try:
        told = json.loads(said)
        inner = told.get("error", told)
        words = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, AttributeError, RecursionError):
        words = said
    return " ".join(str(words).split())[:_SAID] or "no reason given"

"""A model's reply -> what it says, or why it says nothing. Nothing is ever guessed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from coaches.client.errors import AmbiguousScoreError, EmptyReplyError, ScoreRangeError, UnreadableReplyError

RATIONALE_CHARS = 300
"""Of a rationale under a bounded schema."""
KEPT_CHARS = 2400
"""Of any rationale."""

_SCORE = re.compile(r'"score"\s*:\s*([^\s,}]+)')
_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


@dataclass(frozen=True)
class Judgement:
    """``Judgement(3.0, "model.pkl was not saved", "modeler")``"""

    score: float
    rationale: str
    blame: str | None


def schema(agents: Collection[str], *, bounded: bool) -> dict[str, Any]:
    """The JSON schema of a reply on a turn of a team of ``agents``.

    ``bounded``: with bounds on the score and on the rationale's length, for small models under a grammar. An
    enumeration, because llama.cpp's grammars know no other bounds of a number; some hosted endpoints refuse
    such keywords.
    """
    rationale: dict[str, Any] = {"type": "string"}
    score: dict[str, Any] = {"type": "number"}
    if bounded:
        rationale["maxLength"] = RATIONALE_CHARS
        score = {"enum": list(range(11))}
    blame = {"type": "string", "enum": [*agents, "nobody"]}
    return {
        "type": "object",
        "properties": {"rationale": rationale, "blame": blame, "score": score},
        "required": ["rationale", "blame", "score"],
        "additionalProperties": False,
    }


def judgement(reply: str, agents: Collection[str]) -> Judgement:
    """Reads a reply that is one JSON object as ``schema`` has it, and nothing else.

    A code fence around it and thinking before it (up to the last ``</think>``) are allowed. ``blame`` may be
    missing or null.

    Raises:
        ReplyError: there is no verdict in it; a subclass says why.
    """
    return _judgement(json_object(reply), agents)


def json_object(reply: str) -> dict[str, Any]:
    """The one JSON object that a reply is, but for a code fence around it and thinking before it.

    Raises:
        ReplyError: it is none, says a thing twice, or holds what is no finite number.
    """
    text = reply.rpartition("</think>")[2].strip()
    if not text:
        raise EmptyReplyError("the reply is empty")
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    try:
        # Not strict: small models put line breaks into strings as they are.
        values = json.loads(text, strict=False, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if len(set(_SCORE.findall(text))) > 1:
            raise AmbiguousScoreError("the reply holds more than one score") from None
        raise UnreadableReplyError(f"the reply is not one JSON object: {_start(error)}") from None
    if not isinstance(values, dict):
        raise UnreadableReplyError("the reply is no JSON object")
    return values


def _judgement(values: Mapping[str, Any], agents: Collection[str]) -> Judgement:
    if not {"rationale", "score"} <= values.keys():
        raise UnreadableReplyError("the reply is no JSON object with rationale and score")
    if extra := values.keys() - {"rationale", "blame", "score"}:
        raise UnreadableReplyError(f"the reply has keys that nobody asked for: {len(extra)}")
    score, rationale, blame = values["score"], values["rationale"], values.get("blame") or "nobody"
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise UnreadableReplyError("the score is no number")
    if not isinstance(rationale, str):
        raise UnreadableReplyError("the rationale is no text")
    if blame not in (*agents, "nobody"):
        raise UnreadableReplyError("the reply blames somebody who is not in the team")
    if not 0 <= score <= 10:  # as an int it may be too long for a float
        raise ScoreRangeError("the score is not in [0, 10]")
    kept = rationale.strip()[:KEPT_CHARS]
    return Judgement(float(score), kept, None if blame == "nobody" else blame)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise AmbiguousScoreError("the reply says the same thing twice")
    return values


def _no_number(name: str) -> float:
    raise ScoreRangeError(f"the score is {name}, no finite number")


def _start(error: Exception) -> str:
    return str(error).split(":")[0][:60] or type(error).__name__

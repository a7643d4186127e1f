"""Parses a model's reply strictly: it is either a judgement or an error with a cause, and never a guess."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from coaches.client.errors import AmbiguousScoreError, EmptyReplyError, ScoreRangeError, UnreadableReplyError
from conf.text import loads

RATIONALE_CHARS = 300
"""Longest rationale that a bounded schema allows."""
KEPT_CHARS = 2400
"""Characters of a rationale that are kept."""

_SCORE = re.compile(r'"score"\s*:\s*([^\s,}]+)')
_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


@dataclass(frozen=True)
class Judgement:
    """``Judgement(3.0, "model.pkl was not saved", "modeler")``"""

    score: float
    rationale: str
    blame: str | None


def schema(agents: Collection[str], *, bounded: bool) -> dict[str, Any]:
    """Returns the JSON Schema of a reply about a turn of a team of ``agents``.

    ``bounded``: limit the score and the rationale's length, for small models with constrained decoding. The
    score is an enumeration because llama.cpp's grammars support no other bounds on numbers. Some hosted
    endpoints reject these keywords.
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
    """Parses a reply that must be one JSON object of the form of ``schema`` and nothing else.

    A code fence around it and thinking before it (up to the last ``</think>``) are allowed. ``blame`` may be
    missing or null.

    Raises:
        ReplyError: the reply is not a judgement; the subclass is the cause.
    """
    return _judgement(json_object(reply), agents)


def json_object(reply: str) -> dict[str, Any]:
    """Returns the one JSON object of a reply, without a code fence around it and thinking before it.

    Raises:
        ReplyError: the reply is not one JSON object, has a key twice, or has a number that is not finite.
    """
    text = reply.rpartition("</think>")[2].strip()
    if not text:
        raise EmptyReplyError("the reply is empty")
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    try:
        # Not strict: small models put raw line breaks into strings.
        values = loads(text, strict=False, object_pairs_hook=_object, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        if len(set(_SCORE.findall(text))) > 1:
            raise AmbiguousScoreError("the reply has more than one score") from None
        raise UnreadableReplyError(f"the reply is not one JSON object: {_start(error)}") from None
    if not isinstance(values, dict):
        raise UnreadableReplyError("the reply is not a JSON object")
    return values


def _judgement(values: Mapping[str, Any], agents: Collection[str]) -> Judgement:
    if not {"rationale", "score"} <= values.keys():
        raise UnreadableReplyError("the reply is not a JSON object with rationale and score")
    if extra := values.keys() - {"rationale", "blame", "score"}:
        raise UnreadableReplyError(f"the reply has {len(extra)} unexpected keys")
    score, rationale, blame = values["score"], values["rationale"], values.get("blame") or "nobody"
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise UnreadableReplyError("the score is not a number")
    if not isinstance(rationale, str):
        raise UnreadableReplyError("the rationale is not text")
    if blame not in (*agents, "nobody"):
        raise UnreadableReplyError("the reply blames an agent that is not in the team")
    if not 0 <= score <= 10:  # compared before the conversion: an int may be too large for a float
        raise ScoreRangeError("the score is not in [0, 10]")
    kept = rationale.strip()[:KEPT_CHARS]
    return Judgement(float(score), kept, None if blame == "nobody" else blame)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise AmbiguousScoreError("the reply has the same key twice")
    return values


def _not_finite(name: str) -> float:
    raise ScoreRangeError(f"the score is {name}, which is not a finite number")


def _start(error: Exception) -> str:
    return str(error).split(":")[0][:60] or type(error).__name__

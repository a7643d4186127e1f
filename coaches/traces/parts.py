"""Messages of OpenTelemetry's conventions for generative AI in the form that our recordings take."""

from __future__ import annotations

import json
from typing import Any

from coaches.recording.fields import BadRowError, get
from conf.text import loads


def decoded(value: Any, key: str) -> Any:
    """Returns an attribute that is JSON where exporters cannot write objects. Raises ``BadRowError``."""
    if not isinstance(value, str):
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"{key} is not valid JSON: {error}") from None


def messages(value: Any, key: str) -> list[dict[str, Any]]:
    """Returns the messages of an attribute such as ``gen_ai.input.messages``. Raises ``BadRowError``."""
    listed = decoded(value, key)
    if not isinstance(listed, list):
        raise BadRowError(f"{key} must be a list of messages, not {type(listed).__name__}")
    return [_message(one, f"{key}[{place}]") for place, one in enumerate(listed)]


def content(parts: Any, key: str) -> str | list[dict[str, Any]]:
    """Returns what a message says: a text if it has no other part, else its parts. Raises ``BadRowError``."""
    if isinstance(parts, str):
        return parts
    if not isinstance(parts, list):
        raise BadRowError(f"{key}: parts must be a list, not {type(parts).__name__}")
    made = [one for place, part in enumerate(parts) if (one := _part(part, f"{key}.parts[{place}]"))]
    if all(one["type"] == "text" for one in made):
        return "\n".join(one["text"] for one in made)
    return made


def as_text(value: Any) -> str:
    """Returns a value as text: itself, or as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _message(row: Any, key: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadRowError(f"{key} is not an object")
    try:
        role = get(row, "role", str)
    except BadRowError as error:
        raise BadRowError(f"{key}: {error}") from None
    return {"role": role, "content": content(row.get("parts", row.get("content", [])), key)}


def _part(part: Any, key: str) -> dict[str, Any] | None:
    """Returns a part that is text, a thought, or a call of a tool or its answer; None for any other."""
    if not isinstance(part, dict):
        raise BadRowError(f"{key} is not an object")
    kind, said = part.get("type"), part.get("content", part.get("text"))
    if kind == "text":
        return {"type": "text", "text": as_text(said if said is not None else "")}
    if kind == "reasoning":
        return {"type": "text", "text": f"<think>\n{as_text(said if said is not None else '')}\n</think>"}
    if kind == "tool_call":
        call = {"type": "tool_use", "name": part.get("name"), "input": part.get("arguments")}
        return call | ({"id": part["id"]} if part.get("id") is not None else {})
    if kind == "tool_call_response":
        answer = part.get("response", part.get("result"))
        return {"type": "tool_result", "tool_use_id": part.get("id"), "content": as_text(answer)}
    return None

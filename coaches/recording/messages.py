"""Messages as OpenAI, Anthropic, Gemini, LangGraph and AutoGen write them, as plain text with a role."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, get_args

from coaches.recording.fields import BadRowError, Row, get
from conf.text import loads
from envs.types import Message

Speaker = Literal["system", "user", "assistant"]
_ROLES: Mapping[str, Speaker] = {
    **{role: role for role in get_args(Speaker)},
    "developer": "system",
    "human": "user",
    "tool": "user",  # the result of a tool is what the agent read
    "function": "user",
    "function_call_output": "user",
    "function_call": "assistant",
    "ai": "assistant",
    "model": "assistant",
}
_CALLS = ("tool_calls", "function_call")


def message(row: Any, agent: str) -> Message:
    """Returns the message that ``agent`` read. Raises ``BadRowError``.

    A message without a role has its type (LangGraph) or its source (AutoGen), which is the agent itself or
    somebody else.
    """
    if not isinstance(row, Mapping):
        raise BadRowError(f"{row!r:.60} is not an object")
    return Message(_role(row, agent), said(row))


def said(value: Any) -> str:
    """Returns what a message says: its text, its parts with text, and its calls of tools, each on a line.

    ``value``: a text, null, a list of parts, or a message.

    Raises:
        BadRowError: it is none of these.
    """
    return "\n".join(text for text in _texts(value) if text)


def called(row: Row) -> str:
    """Returns the calls of tools of a message or a turn, each in the form ``<tool_call>{…}</tool_call>``."""
    return "\n".join(_call(call) for key in _CALLS for call in _listed(get(row, key, (list, dict), [])))


def _role(row: Row, agent: str) -> Speaker:
    name = row.get("role") or row.get("type")
    if isinstance(name, str) and (name in _ROLES or row.get("role")):
        if name not in _ROLES:
            raise BadRowError(f"{name!r} is not a message role")
        return _ROLES[name]
    if isinstance(row.get("source"), str):
        return "assistant" if row["source"] == agent else "user"
    raise BadRowError("role is missing")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _part(part)
    elif isinstance(value, Mapping):
        if "content" in value or "parts" in value:
            yield from _texts(value.get("content", value.get("parts")))
        else:
            yield from _part(value)
        yield called(value)
    elif value is not None:
        raise BadRowError(f"must be text, null, a list of parts or a message, not {type(value).__name__}")


def _part(part: Any) -> Iterator[str]:
    """Yields the text of one part: ``{"type": "text", "text": …}``, a call of a tool, or its result."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        if isinstance(part.get("text"), str):
            yield part["text"]
        elif isinstance(part.get("name"), str) and {"input", "arguments"} & part.keys():
            yield _call(part)
        elif part.get("type") in ("tool_result", "FunctionExecutionResult") or "call_id" in part:
            yield from _texts(part.get("content", part.get("output")))
        elif (
            isinstance(call := _either(part, "functionCall", "function_call"), Mapping)
            and "parts" not in part
        ):
            yield _call(call)
        elif isinstance(answer := _either(part, "functionResponse", "function_response"), Mapping):
            yield _answered(answer.get("response"))
    else:
        raise BadRowError(f"a part must be text or an object, not {type(part).__name__}")


def _either(part: Mapping[str, Any], *keys: str) -> Any:
    return next((part[key] for key in keys if key in part), None)


def _answered(response: Any) -> str:
    """Returns what a tool of Gemini answered: the only text in its response, or the whole as JSON."""
    values = list(response.values()) if isinstance(response, Mapping) else [response]
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return json.dumps(response, ensure_ascii=False)


def _listed(calls: Any) -> list[Any]:
    return calls if isinstance(calls, list) else [calls]


def _call(call: Any) -> str:
    """Returns a call as text; ``call`` has ``name`` with ``arguments``, ``args`` or ``input``, perhaps within
    ``function``."""
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise BadRowError("a call of a tool must have a name")
    given: Any = next((inner[key] for key in ("arguments", "args", "input") if key in inner), {})
    if isinstance(given, str):
        with suppress(ValueError, RecursionError):  # otherwise it is shown as it was written
            given = loads(given)
    whole = {"name": inner["name"], "arguments": given}
    return f"<tool_call>\n{json.dumps(whole, ensure_ascii=False)}\n</tool_call>"

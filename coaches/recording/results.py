"""Results of programs that a recording has not in the turn that ran them but in what is read afterwards, as
the messages of tools of OpenAI, Anthropic, Gemini, LangGraph and AutoGen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coaches.recording import messages
from coaches.recording.fields import BadRowError, Row

_TOOLS = ("tool", "function", "function_call_output")
_FAILED = re.compile(r"Traceback \(most recent call last\):|(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b")
"""How a line begins with which Python reports an error."""


def reports_failure(text: str) -> bool:
    """Returns whether the first or the last line of an output reports an error as Python does."""
    lines = [line for line in text.splitlines() if line.strip()]
    return any(_FAILED.match(line) for line in (*lines[:1], *lines[-1:]))


class _Output(NamedTuple):
    call: str | None
    """The id of the call."""
    text: str
    failed: bool


def completed(turns: Sequence[Row]) -> list[Row]:
    """Returns ``turns``; those without a result have the one that is read later, if there is one.

    That is what tools answered to the turn's calls, by id, in the observation of any later turn; or else what
    tools answered last in the observation of the agent's next turn. Raises ``BadRowError``.
    """
    return [
        {**raw, "result": result}
        if raw.get("result") is None and (result := _result(raw, turns[place + 1 :]))
        else raw
        for place, raw in enumerate(turns)
    ]


def _result(raw: Row, later: Sequence[Row]) -> Row | None:
    action = raw.get("action")
    calls = [*_calls(action), *_calls({key: raw.get(key) for key in ("tool_calls", "function_call")})]
    ids = {str(call["id"]) for call in calls if call.get("id") is not None}
    ids |= {str(call["call_id"]) for call in calls if call.get("call_id") is not None}
    for turn in later:
        if answers := [each for each in _outputs(turn.get("observation")) if each.call in ids]:
            return _joined({each.call: each for each in answers}.values())
    following = next((turn for turn in later if turn.get("agent") == raw.get("agent")), None)
    unnamed = [] if following is None else [each for each in _last(following) if each.call is None or not ids]
    return _joined(unnamed) if unnamed else None


def _joined(outputs: Any) -> Row:
    answers = list(outputs)
    failed = any(each.failed for each in answers)
    text = "\n".join(each.text for each in answers)
    return {"status": "error" if failed else "ok", "stderr" if failed else "stdout": text}


def _calls(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the calls of tools in a message, or in its parts."""
    if isinstance(value, list):
        for part in value:
            yield from _calls(part)
    elif isinstance(value, Mapping):
        for key in ("tool_calls", "function_call", "functionCall"):
            found = value.get(key)
            yield from (
                call for call in (found if isinstance(found, list) else [found]) if isinstance(call, Mapping)
            )
        if value.get("type") in ("tool_use", "function_call", "FunctionCall"):
            yield value
        for key in ("content", "parts"):
            yield from _calls(value.get(key))


def _outputs(observation: Any) -> Iterator[_Output]:
    for message in observation if isinstance(observation, list) else [observation]:
        if isinstance(message, Mapping):
            yield from _output(message)


def _last(turn: Row) -> list[_Output]:
    """Returns what tools answered after the last message of an assistant."""
    found: list[_Output] = []
    observation = turn.get("observation")
    for message in observation if isinstance(observation, list) else [observation]:
        if isinstance(message, Mapping):
            if message.get("role", message.get("type")) in ("assistant", "ai", "model"):
                found = []
            found += _output(message)
    return found


def _output(message: Mapping[str, Any]) -> Iterator[_Output]:
    if message.get("role", message.get("type")) in _TOOLS or message.get("type") in _TOOLS:
        yield _answer(message, message)
        return
    content = message.get("content", message.get("parts"))
    for part in content if isinstance(content, list) else []:
        if not isinstance(part, Mapping):
            continue
        gemini = part.get("functionResponse", part.get("function_response"))
        if part.get("type") in ("tool_result", "FunctionExecutionResult") or "call_id" in part:
            yield _answer(part, part)
        elif isinstance(gemini, Mapping):
            yield _answer(gemini, part)


def _answer(row: Mapping[str, Any], message: Mapping[str, Any]) -> _Output:
    call = next((row[key] for key in ("tool_call_id", "tool_use_id", "call_id", "id") if row.get(key)), None)
    try:
        text = messages.said(message)
    except BadRowError as error:
        raise BadRowError(f"observation: {error}") from None
    failed = row.get("status") == "error" or row.get("is_error") is True or reports_failure(text)
    return _Output(None if call is None else str(call), text, failed)

"""The turns of a sample of inspect_ai, as rows of our own format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from coaches.traces.parts import as_text
from coaches.traces.tools import joined, returned
from sandbox.base import Status

_SCORER = ("scorer", "scorers")
_NAMED = ("agent", "solver")
"""Types of spans that have the name of who acts, the best first."""
UNNAMED = "unnamed"
Row = dict[str, Any]


@dataclass
class _Call:
    """A call of a model, and what became of the tools that it asked for."""

    row: Row
    asked: frozenset[str]
    """Ids of its calls of tools."""
    began: float | None
    acted: float | None
    tools: list[Any] = field(default_factory=list)


def turns(sample: Any) -> tuple[list[Row], list[str]]:
    """Returns the turns, in order, each with its ``moments``, and what the sample does not have of them."""
    spans = {event.id: event for event in sample.events if event.event == "span_begin"}
    missing: dict[str, None] = {}
    calls: list[_Call] = []
    for event in sample.events:
        around = list(_around(event.span_id, spans))
        if any(span.type in _SCORER for span in around):
            continue
        if event.event == "model":
            if event.error or event.pending or event.output.empty:
                missing["calls of a model that failed"] = None
            else:
                calls.append(_call(event, _agent(around, missing), missing))
        elif event.event == "tool":
            owner = next((one for one in reversed(calls) if event.id in one.asked), None)
            if owner is not None:
                owner.tools.append(event)
    if not calls:
        calls = list(_told(sample.messages, missing))
    return [_turn(one, missing) for one in calls], list(missing)


def _around(span: str | None, spans: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the spans that an event is in, the innermost first. They may even go round in a circle."""
    seen: set[str] = set()
    while span is not None and span in spans and span not in seen:
        seen.add(span)
        yield spans[span]
        span = spans[span].parent_id


def _agent(around: Sequence[Any], missing: dict[str, None]) -> str:
    for kind in _NAMED:
        if (found := next((span for span in around if span.type == kind), None)) is not None:
            if kind != _NAMED[0]:
                missing["names of agents (called by their solvers)"] = None
            return str(found.name)
    missing[f"names of agents (called {UNNAMED!r})"] = None
    return UNNAMED


def _call(event: Any, agent: str, missing: dict[str, None]) -> _Call:
    choice, usage = event.output.choices[0], event.output.usage
    row = {
        "agent": agent,
        "action": _content(choice.message, missing),
        "observation": [_message(one, missing) for one in event.input],
        "finish_reason": str(choice.stop_reason),
    }
    if usage is not None:
        row |= {"prompt_tokens": usage.input_tokens, "tokens": usage.output_tokens}
    acted = None if event.completed is None else event.completed.timestamp()
    return _Call(row, _asked(choice.message), event.timestamp.timestamp(), acted)


def _told(messages: Sequence[Any], missing: dict[str, None]) -> Iterator[_Call]:
    """Yields what the messages of a sample without events tell: nobody's name, and no times."""
    for place, message in enumerate(messages):
        if message.role == "assistant":
            missing[f"events (read from messages, agents called {UNNAMED!r})"] = None
            read = [_message(one, missing) for one in messages[:place]]
            action = _content(message, missing)
            yield _Call(
                {"agent": UNNAMED, "action": action, "observation": read}, _asked(message), None, None
            )


def _asked(message: Any) -> frozenset[str]:
    return frozenset(call.id for call in message.tool_calls or [])


def _turn(call: _Call, missing: dict[str, None]) -> Row:
    done = [tool for tool in call.tools if not tool.pending]
    if call.acted is not None and len({tool.id for tool in done}) < len(call.asked):
        missing["what tools returned"] = None
    row = dict(call.row)
    code = done[0].arguments.get("code") if len(done) == 1 else None
    if isinstance(code, str):
        row["code"] = code
    if (result := joined([_returned(tool, missing) for tool in done])) is not None:
        row["result"] = result
    ends = [call.acted, *(tool.completed.timestamp() for tool in done if tool.completed is not None)]
    known = [one for one in ends if one is not None]
    return row | {"moments": (call.began, call.acted, max(known, default=None))}


def _returned(tool: Any, missing: dict[str, None]) -> Row:
    text = _text(tool.result, missing)
    if tool.error is None:
        return returned(text, failed=False)
    status = tool.error.type if tool.error.type in get_args(Status) else "error"
    return returned("\n".join(one for one in (text, tool.error.message) if one), failed=True, status=status)


def _message(message: Any, missing: dict[str, None]) -> Row:
    if message.role == "tool":
        said = _text(message.content, missing)
        failed = message.error is not None
        text = "\n".join(one for one in (said, message.error.message if failed else "") if one)
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": text, "is_error": failed}
    return {"role": message.role, "content": _content(message, missing)}


def _content(message: Any, missing: dict[str, None]) -> str | list[Row]:
    """Returns what a message says: a text, or parts if it calls tools."""
    text = _text(message.content, missing)
    if not (calls := getattr(message, "tool_calls", None)):
        return text
    asked = [
        {"type": "tool_use", "id": one.id, "name": one.function, "input": one.arguments} for one in calls
    ]
    return [{"type": "text", "text": text}, *asked]


def _text(content: Any, missing: dict[str, None]) -> str:
    """Returns the text of a message's content or of what a tool returned, thoughts in their tags."""
    if not isinstance(content, list):
        return as_text(getattr(content, "text", content))
    said = []
    for part in content:
        if part.type == "text":
            said.append(part.text)
        elif part.type == "reasoning":
            if part.reasoning and not part.redacted:
                said.append(f"<think>\n{part.reasoning}\n</think>")
        else:
            missing["what is not text in messages"] = None
    return "\n".join(said)

"""The turns of an episode of spans, as rows of our own format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from coaches.recording.fields import BadRowError
from coaches.traces.evaluations import PART, verdict
from coaches.traces.parts import as_text, content, decoded, messages
from coaches.traces.spans import Span
from coaches.traces.tools import joined, returned
from coaches.traces.tree import Tree
from sandbox.base import Status

MODEL = ("chat", "generate_content", "text_completion")
AGENT, TOOL = "invoke_agent", "execute_tool"
UNNAMED = "unnamed"
_DETAILS = "gen_ai.client.inference.operation.details"
"""The event that holds a call's messages where its span does not."""
_TURN = {"last": "coachgym.last", "weight_version": "coachgym.weight_version", "code": "coachgym.code"}
_TURN_JSON = {key: f"coachgym.{key}" for key in ("files_before", "files", "checks")}
JUDGED = "judged_span"
"""Key of a turn's id of the span that has its verdict; ``span`` is that of the call of its model."""
_MOMENTS = "moments"
"""Key of a turn's times as nanoseconds since 1970, until it is known when the episode started."""
_TIMES = ("began", "acted", "ended")
_CALL = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "tokens": "gen_ai.usage.output_tokens",
    "cost": "coachgym.cost",
}
Row = dict[str, Any]


def operation(span: Span) -> str:
    """Returns what a span is by the conventions; "" if it is something else."""
    return str(span.attributes.get("gen_ai.operation.name", ""))


def rows(tree: Tree, inside: Sequence[Span]) -> tuple[list[Row], list[str]]:
    """Returns the turns, in order, and what the trace does not have of them.

    Raises:
        BadRowError: a turn has no messages, or an attribute is invalid.
    """
    acted = _acted(tree, inside)
    answers = _answers(tree, inside, acted)
    made, missing = list[Row](), dict[str, None]()
    for span in acted:
        tools = answers[span.id]
        try:
            row = _call(span) | _agent(tree, span) | (_result(tools) if tools else {})
        except BadRowError as error:
            raise BadRowError(f"span {span.id} ({span.name}): {error}") from None
        if tools and "result" not in row:
            missing["what tools returned"] = None
        if row["agent"] == UNNAMED:
            missing[f"names of agents (called {UNNAMED!r})"] = None
        if span.attributes.get("coachgym.messages_left_out"):
            missing["some old messages"] = None
        made.append(row | {_MOMENTS: _moments(tree, span, tools)})
    return made, list(missing)


def timed(root: Span | None, made: Sequence[Row], *, known: bool) -> tuple[float | None, list[Row]]:
    """Returns when the episode started, in seconds since 1970, and the turns with times from there on.

    None, and the turns without times, if these are not ``known`` or not in order.
    """
    bare = [{key: value for key, value in row.items() if key != _MOMENTS} for row in made]
    moments = [row[_MOMENTS] for row in made]
    start = root.began if root is not None else min(began for began, _, _ in moments)
    if not known or not all(0 < start <= began <= acted <= ended for began, acted, ended in moments):
        return None, bare
    return round(start / 1e9, 4), [
        row | {"times": {key: round((at - start) / 1e9, 4) for key, at in zip(_TIMES, when, strict=True)}}
        for row, when in zip(bare, moments, strict=True)
    ]


def _acted(tree: Tree, inside: Sequence[Span]) -> list[Span]:
    """Returns the spans that are turns, in order."""
    calls = [span for span in inside if operation(span) in MODEL]
    covered = {one.id for span in calls for one in tree.around(span)}
    calls += [span for span in inside if operation(span) == AGENT and span.id not in covered]
    return sorted(calls, key=lambda span: (_number(tree, span), span.began, span.ended))


def _number(tree: Tree, span: Span) -> int:
    """Returns the place of a turn of ours, which spans of one moment would not give."""
    agent = tree.nearest(span, _is_agent)
    place = None if agent is None else agent.attributes.get("coachgym.turn")
    return place if isinstance(place, int) else 0


def _is_agent(span: Span) -> bool:
    return operation(span) == AGENT


def _answers(tree: Tree, inside: Sequence[Span], acted: Sequence[Span]) -> dict[str, list[Span]]:
    """Returns the tools that ran on each turn: within its span, or after it in the same agent."""
    found: dict[str, list[Span]] = {span.id: [] for span in acted}
    for tool in sorted((span for span in inside if operation(span) == TOOL), key=lambda span: span.began):
        within = tree.nearest(tool, lambda span: span.id in found)
        agent = tree.nearest(tool, _is_agent)
        before = [
            span for span in acted if span.began <= tool.began and tree.nearest(span, _is_agent) is agent
        ]
        if owner := within or (before[-1] if before else None):
            found[owner.id].append(tool)
    return found


def _call(span: Span) -> Row:
    """Returns what the agent read and wrote."""
    told = _messages_of(span)
    if told.get("gen_ai.output.messages") is None:
        raise BadRowError(
            "gen_ai.output.messages is missing: let the instrumentation record the content of messages"
        )
    wrote = messages(told["gen_ai.output.messages"], "gen_ai.output.messages")
    if not wrote:
        raise BadRowError("gen_ai.output.messages is empty")
    read = messages(told.get("gen_ai.input.messages") or [], "gen_ai.input.messages")
    if told.get("gen_ai.system_instructions") is not None:
        parts = decoded(told["gen_ai.system_instructions"], "gen_ai.system_instructions")
        read.insert(0, {"role": "system", "content": content(parts, "gen_ai.system_instructions")})
    said = wrote[0]["content"]
    row: Row = {"action": said, "observation": read, "span": span.id}
    row |= {key: span.attributes[name] for key, name in _CALL.items() if name in span.attributes}
    if isinstance(reasons := span.attributes.get("gen_ai.response.finish_reasons"), list) and reasons:
        row["finish_reason"] = reasons[0]
    return row


def _messages_of(span: Span) -> dict[str, Any]:
    told: Row = {}
    for event in span.events:
        if event.name == _DETAILS:
            told |= event.attributes
    return told | dict(span.attributes)


def _moments(tree: Tree, span: Span, tools: Sequence[Span]) -> tuple[int, int, int]:
    """Returns when a turn began, had acted, and ended. The span of a turn of ours is that of its agent."""
    agent = tree.nearest(span, _is_agent)
    if agent is not None and _is_ours(agent):
        return agent.began, span.ended, agent.ended
    return span.began, span.ended, max(one.ended for one in (span, *tools))


def _agent(tree: Tree, span: Span) -> Row:
    """Returns who acted, and what the span of the agent says about the turn."""
    agent = tree.nearest(span, _is_agent)
    around = [one for one in (span, agent) if one is not None]
    names = [one.attributes.get(f"gen_ai.agent.{key}") for key in ("name", "id") for one in around]
    row: Row = {"agent": next((str(name) for name in names if name), UNNAMED)}
    holder = agent if agent is not None and _is_ours(agent) else span
    row |= {JUDGED: holder.id, "verdict": _verdict(holder)}
    if agent is None:
        return row
    given = agent.attributes
    row |= {key: given[name] for key, name in _TURN.items() if name in given}
    row |= {key: decoded(given[name], name) for key, name in _TURN_JSON.items() if name in given}
    return row


def _is_ours(agent: Span) -> bool:
    """Returns whether the span of an agent is a turn, as in our own traces."""
    return "coachgym.turn" in agent.attributes


def _verdict(holder: Span) -> Row | None:
    """Returns the verdict on a turn. Evaluations of other systems have scales of their own and are none."""
    ours = _is_ours(holder)
    return verdict([event for event in holder.events if ours or PART in event.attributes])


def _result(tools: Sequence[Span]) -> Row:
    """Returns the result of one or several tools, and the program if one had it."""
    row: Row = {}
    arguments = _json_or_none(tools[0].attributes.get("gen_ai.tool.call.arguments"))
    if len(tools) == 1 and isinstance(arguments, dict) and isinstance(arguments.get("code"), str):
        row["code"] = arguments["code"]
    result = joined([one for tool in tools if (one := _returned(tool)) is not None])
    return row if result is None else row | {"result": result}


def _returned(tool: Span) -> Row | None:
    """Returns the result of a tool; None if the trace says neither what it returned nor that it failed."""
    given = tool.attributes
    value = given.get("gen_ai.tool.call.result")
    ours = _json_or_none(value)
    if isinstance(ours, dict) and ours.get("status") in get_args(Status) and "stdout" in ours:
        seconds = {key: given[f"coachgym.{key}"] for key in ("wall_s", "cpu_s") if f"coachgym.{key}" in given}
        return ours | seconds
    failed = tool.failed or "error.type" in given
    if value is None and not failed:
        return None
    said = as_text(value) if value is not None else tool.message or str(given.get("error.type", ""))
    return returned(said, failed=failed)


def _json_or_none(value: Any) -> Any:
    """Returns an attribute that may be JSON; None if it is not."""
    try:
        return decoded(value, "")
    except BadRowError:
        return None

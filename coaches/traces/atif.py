"""Reads trajectories in ATIF-v1.x, the Agent Trajectory Interchange Format of Harbor and Terminal-Bench
(https://harborframework.com/docs/trajectory-format); one JSON object a file.

A step of the agent is a turn; the results in its observation are its result. Steps of the system and of users
are what it reads. A trajectory of a subagent within the file (``subagent_trajectories``) has turns of its own
agent, after the step that refers to it. Results have no status in this format, and trajectories no outcome: a
result counts as ``ok`` unless its text reports an error as a program of Python would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coaches.recording.fields import BadRowError, Row, get
from coaches.recording.results import reports_failure
from coaches.traces import files
from coaches.traces.tools import joined, returned

ABSENT = "outcome, files, checks, times and status of results"
_KNOWN = re.compile(r'"schema_version"\s*:\s*"ATIF-v1\.\d+"')
_VERSION = re.compile(r"ATIF-v1\.\d+")
_SOURCES = {"system": "system", "user": "user", "agent": "assistant"}
_DEEPEST = 20
"""Subagents of subagents that are read."""


def recognises(start: str) -> bool:
    """Returns whether a file begins as a trajectory in ATIF."""
    return start.lstrip().startswith("{") and _KNOWN.search(start) is not None


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """Yields every trajectory of ``path``; see ``formats.Format``."""
    for file in files.of(path):
        if file != path and not recognises(files.start(file)):
            continue  # a folder of a job has results and settings besides
        name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
        try:
            yield str(file), _row(files.whole(file), name)
        except BadRowError as error:
            yield str(file), error


def _row(data: Row, name: str) -> dict[str, Any]:
    version = get(data, "schema_version", str)
    if _VERSION.fullmatch(version) is None:
        raise BadRowError(f"schema_version must be ATIF-v1.x, not {version!r:.60}")
    missing: dict[str, None] = {}
    turns = list(_turns(data, missing, 0))
    if not turns:
        raise BadRowError("steps has no step of an agent")
    identity = get(data, "trajectory_id", str, None) or get(data, "session_id", str, None)
    return {"id": identity or name, "task": name, "turns": turns, "missing": list(missing)}


def _turns(data: Row, missing: dict[str, None], depth: int) -> Iterator[dict[str, Any]]:
    """Yields the turns of a trajectory, with those of its subagents where they were called."""
    if depth > _DEEPEST:
        raise BadRowError("subagent_trajectories are nested too deeply")
    agent = get(get(data, "agent", dict), "name", str)
    inside = {_identity(one): one for one in get(data, "subagent_trajectories", list, [])}
    read: list[dict[str, Any]] = []
    for place, step in enumerate(get(data, "steps", list)):
        try:
            if not isinstance(step, dict):
                raise BadRowError("it is not an object")
            said, results = _said(step, missing), _results(step)
            if step.get("source") == "agent" and not get(step, "is_copied_context", bool, False):
                yield _turn(step, agent, said, results, read)
            called = [
                _identity(one)
                for result in results
                for one in get(result, "subagent_trajectory_ref", list, [])
            ]
        except BadRowError as error:
            raise BadRowError(f"steps[{place}]: {error}") from None
        for reference in called:
            if reference in inside:
                yield from _turns(inside.pop(reference), missing, depth + 1)
            else:
                missing["trajectories of subagents in other files"] = None
        read = [*read, said, *_answers(results)]
    if inside:
        missing["the place of subagents that no step refers to"] = None


def _turn(step: Row, agent: str, said: Row, results: Sequence[Row], read: Sequence[Row]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "agent": agent,
        "action": said["content"],
        "observation": list(read),
        "step": get(step, "step_id", int),
    }
    metrics = get(step, "metrics", dict, {})
    keys = {"prompt_tokens": "prompt_tokens", "tokens": "completion_tokens", "cost": "cost_usd"}
    row |= {key: metrics[name] for key, name in keys.items() if metrics.get(name) is not None}
    calls = get(step, "tool_calls", list, [])
    code = calls[0]["arguments"].get("code") if len(calls) == 1 else None
    if isinstance(code, str):
        row["code"] = code
    texts = [_text(one.get("content")) for one in results if one.get("content") is not None]
    result = joined([returned(text, failed=reports_failure(text)) for text in texts])
    return row if result is None else row | {"result": result}


def _said(step: Row, missing: dict[str, None]) -> dict[str, Any]:
    source = get(step, "source", str)
    if source not in _SOURCES:
        raise BadRowError(f"source must be one of {', '.join(_SOURCES)}, not {source!r:.60}")
    message = step.get("message")
    if isinstance(message, list) and any(
        isinstance(one, dict) and one.get("type") != "text" for one in message
    ):
        missing["images"] = None
    parts = [{"type": "text", "text": _text(message)}]
    if thought := get(step, "reasoning_content", str, ""):
        parts.insert(0, {"type": "text", "text": f"<think>\n{thought}\n</think>"})
    asked = [_call(one) for one in get(step, "tool_calls", list, [])]
    return {"role": _SOURCES[source], "content": [*(one for one in parts if one["text"]), *asked]}


def _call(call: Any) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise BadRowError("a call of tool_calls is not an object")
    return {
        "type": "tool_use",
        "id": get(call, "tool_call_id", str),
        "name": get(call, "function_name", str),
        "input": get(call, "arguments", dict),
    }


def _results(step: Row) -> list[Row]:
    results = get(get(step, "observation", dict, {}), "results", list, [])
    if not all(isinstance(one, dict) for one in results):
        raise BadRowError("a result of observation is not an object")
    return list(results)


def _answers(results: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yields results as the messages that the agent reads next."""
    for one in results:
        if one.get("content") is not None:
            text = _text(one["content"])
            yield {"role": "tool", "tool_call_id": one.get("source_call_id"), "content": text}


def _identity(trajectory: Any) -> str:
    """Returns what a trajectory, or a reference to it, is known by: before version 1.7, its session."""
    if not isinstance(trajectory, dict):
        raise BadRowError("a trajectory of a subagent, or a reference to it, is not an object")
    return str(get(trajectory, "trajectory_id", str, "") or get(trajectory, "session_id", str, ""))


def _text(content: Any) -> str:
    """Returns the text of a message or result: a text, or a list of parts of which those with text count."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRowError(f"content must be text or a list of parts, not {type(content).__name__}")
    return "\n".join(str(one["text"]) for one in content if isinstance(one, dict) and one.get("text"))

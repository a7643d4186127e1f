"""Reads spans of OpenTelemetry's conventions for generative AI, from OTLP JSON: what ``trace.otlp`` writes,
and what other systems do.

An episode is a trace, or an ``invoke_workflow`` in it. A call of a model (``chat``) is a turn of the agent
whose ``invoke_agent`` it is in; so is an ``invoke_agent`` without a call of a model, if it has messages. What
tools (``execute_tool``) returned after a call, within the same ``invoke_agent``, is its result.
``learners.traces.spans`` says what ``coachgym.*`` attributes hold; spans of others do without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coaches.recording.fields import BadRowError
from coaches.traces import files, turns
from coaches.traces.parts import decoded
from coaches.traces.spans import Span, spans
from coaches.traces.tree import Tree

ABSENT = ""
WORKFLOW = "invoke_workflow"
_KNOWN = re.compile(r'"resource_?[sS]pans"\s*:')
_ROOT = {
    "id": "coachgym.episode",
    "task": "coachgym.task",
    "kind": "coachgym.kind",
    "phase": "coachgym.phase",
    "step": "coachgym.step",
    "seed": "coachgym.seed",
}
_AS_JSON = {"roles": "coachgym.roles", "facts": "coachgym.facts", "outcome": "coachgym.outcome"}


def recognises(start: str) -> bool:
    """Returns whether a file begins with OTLP JSON."""
    return start.lstrip().startswith("{") and _KNOWN.search(start) is not None


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """Yields every episode of ``path``; see ``formats.Format``. Spans of a trace may be on several lines."""
    known: dict[tuple[str, str], Span] = {}
    for file in files.of(path):
        for place, data in files.documents(file):
            try:
                if isinstance(data, BadRowError):
                    raise data
                known |= {(span.trace, span.id): span for span in spans(data)}
            except BadRowError as error:
                yield place, error
            except RecursionError:
                yield place, BadRowError("attributes are nested too deeply")
    traces: dict[str, list[Span]] = {}
    for span in known.values():
        traces.setdefault(span.trace, []).append(span)
    for trace, members in traces.items():
        tree = Tree(members)
        for root, inside in _episodes(tree):
            name = f"{path}, trace {trace}" + (f", span {root.id}" if root is not None else "")
            try:
                yield name, _row(tree, root, inside)
            except BadRowError as error:
                yield name, error
            except RecursionError:
                yield name, BadRowError("parts of a verdict are nested too deeply")


def _episodes(tree: Tree) -> Iterator[tuple[Span | None, list[Span]]]:
    """Yields the spans of every episode in a trace, with the workflow that it is, if it is one."""
    groups: dict[str, list[Span]] = {}
    for span in tree.spans:
        if turns.operation(span):
            groups.setdefault(tree.topmost(span, _is_workflow), []).append(span)
    for root, inside in groups.items():
        if any(turns.operation(span) in (*turns.MODEL, turns.AGENT) for span in inside):
            yield tree.by_id.get(root), inside


def _row(tree: Tree, root: Span | None, inside: Sequence[Span]) -> dict[str, Any]:
    given = {} if root is None else root.attributes
    row: dict[str, Any] = {key: given[name] for key, name in _ROOT.items() if name in given}
    row |= {key: decoded(given[name], name) for key, name in _AS_JSON.items() if name in given}
    made, lacking = turns.rows(tree, inside)
    missing = [what for span in inside for what in _strings(span.attributes.get("coachgym.left_out"))]
    if "outcome" not in row:
        missing.append("outcome")
    if "id" not in row:
        trace = inside[0].trace
        row["id"] = trace if root is None or not root.parent else f"{trace}/{root.id}"
        missing += ["files and checks", "instructions of roles"]
    started, made = turns.timed(root, made, known=given.get("coachgym.times") != "estimated")
    if started is not None:
        row["started"] = started
    else:
        missing.append("times")
    row["trace"] = inside[0].trace
    return row | {"turns": made, "missing": list(dict.fromkeys(missing + lacking))}


def _is_workflow(span: Span) -> bool:
    return turns.operation(span) == WORKFLOW


def _strings(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []

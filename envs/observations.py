"""What an agent reads: pure functions of the task and of the turns so far (format: ``envs.base``).

Everything that an agent or its program wrote is *quoted*: a line of it that begins with ``##`` gets ``> `` in
front, so that only this module can write a heading. Its line breaks become plain ``\\n`` for the same reason.
Wall-clock times never appear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envs.base import Scenario
from envs.parsing import strip_thinking
from envs.types import Message, Role, Task, Turn
from sandbox.artifacts import ArtifactSpec
from sandbox.base import Result

_PRINTED_CHARS = 40
_ERROR = re.compile(
    r"^(?:\w+\.)*(\w{0,40}(?:Error|Exception|Interrupt|Exit|Iteration))(?::|\s*$)", re.MULTILINE
)


def conversation(
    scenario: Scenario, task: Task, turns: Sequence[Turn], agent: str, *, output_chars: int
) -> tuple[Message, ...]:
    """The chat that ``agent`` reads: system, task and handovers, then its actions and their results.

    ``output_chars``: characters of one stdout or stderr that are shown, head and tail.
    """
    place = [role.name for role in scenario.roles].index(agent)
    role, before = scenario.roles[place], scenario.roles[:place]
    if scenario.context == "previous":
        before = before[-1:]
    opening = [task.prompt]
    for other in before:
        played = [turn for turn in turns if turn.agent == other.name]
        if played:
            opening.append(_handover(played, output_chars))
    messages = [
        Message("system", _system(role, place + 1, len(scenario.roles))),
        Message("user", "\n".join(opening)),
    ]
    for turn in turns:
        if turn.agent == agent:
            messages += [Message("assistant", turn.action), Message("user", _report(turn, output_chars))]
    return tuple(messages)


def summarize(turns: Sequence[Turn]) -> str:
    """One agent's turns in brief: ``error ValueError; model.pkl missing; printed done``.

    The status and the last line printed are those of its last program; the artifacts' states are the latest.
    """
    last = turns[-1]
    ran = [turn.result for turn in turns if turn.result is not None]
    parts = [_status(ran[-1]) if ran else "no code"]
    produced = {spec.name for spec in last.role.produces}
    states = [f"{check.name} {check.code}" for check in last.checks if check.name in produced]
    if states:
        parts.append(", ".join(states))
    if ran and (printed := _printed(ran[-1].stdout)):
        parts.append(f"printed {printed}")
    return "; ".join(parts)


def escape_headings(text: str) -> str:
    """``text`` without line breaks other than ``\\n`` and with no line that could pass for a heading."""
    return "\n".join(f"> {line}" if line.lstrip().startswith("##") else line for line in text.splitlines())


def truncate_middle(text: str, limit: int) -> str:
    """``text``, or its head and tail with the number of characters left out between them."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return f"{text[:head]}\n[{len(text) - limit} characters left out]\n{text[len(text) - tail :]}"


def _system(role: Role, place: int, of: int) -> str:
    lines = [f"## Role: {role.name} ({place} of {of})", role.instructions.strip()]
    if role.requires:
        lines.append(f"Files you receive: {_names(role.requires)}")
    if role.produces:
        lines.append(f"Files you must produce: {_names(role.produces)}")
    lines.append(f"Number of turns: {role.max_turns}")
    return "\n".join(lines)


def _names(specs: Sequence[ArtifactSpec]) -> str:
    return ", ".join(spec.name for spec in specs)


def _handover(turns: Sequence[Turn], output_chars: int) -> str:
    lines = [f"## From {turns[0].agent}: {summarize(turns)}"]
    for turn in turns:
        lines += [f"### Turn {turn.attempt + 1}", escape_headings(strip_thinking(turn.action))]
        if turn.result is not None:
            lines += _output(turn.result, output_chars)
    return "\n".join(lines)


def _report(turn: Turn, output_chars: int) -> str:
    lines = [f"## Result of turn {turn.attempt + 1} of {turn.role.max_turns}: {summarize([turn])}"]
    if turn.result is not None:
        lines += _output(turn.result, output_chars)
    faults = [f"{check.name}: {check.detail}" for check in turn.checks if check.code != "ok" and check.detail]
    if faults:
        lines += ["### checks", escape_headings("\n".join(faults))]
    return "\n".join(lines)


def _output(result: Result, limit: int) -> Iterator[str]:
    end = result.status if result.exit_code is None else f"exit code {result.exit_code}"
    yield f"### {end}, output truncated" if result.truncated else f"### {end}"
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text.strip():
            yield f"### {name}\n{escape_headings(truncate_middle(text, limit))}"


def _status(result: Result) -> str:
    names = _ERROR.findall(result.stderr) if result.status == "error" else []
    return f"{result.status} {names[-1]}" if names else result.status


def _printed(stdout: str) -> str:
    """The last line that is not blank, if it is short and printable; else nothing."""
    lines = [line.strip() for line in stdout.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if len(last) <= _PRINTED_CHARS and last.isprintable() else ""

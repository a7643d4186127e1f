"""Observations: pure functions of the task and the turns so far (format: ``envs.base``).

In text that an agent or its program wrote, ``> `` is put in front of lines that begin with ``##``, and all
line breaks become plain ``\\n``, so that only this module can write headings. Wall-clock times never appear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envs.actions.parsing import read_action, strip_thinking
from envs.base import Scenario
from envs.episode.sessions import SHARED, shares_interpreter
from envs.types import Message, Role, Task, Turn
from sandbox.artifacts import ArtifactSpec
from sandbox.base import Result

_PRINTED_CHARS = 40
_ERROR = re.compile(
    r"^(?:\w+\.)*(\w{0,40}(?:Error|Exception|Interrupt|Exit|Iteration))(?::|\s*$)", re.MULTILINE
)


def conversation(
    scenario: Scenario,
    task: Task,
    turns: Sequence[Turn],
    agent: str,
    known: Sequence[Message] = (),
    *,
    output_chars: int,
) -> tuple[Message, ...]:
    """Returns the chat that ``agent`` reads: system, task and handovers, then its actions and their results.

    At most ``output_chars`` characters of each stdout and stderr are shown, half from the head and half from
    the tail. ``known``: the first messages, as returned before.
    """
    messages = list(known) or _opening(scenario, task, turns, agent, output_chars)
    for turn in [turn for turn in turns if turn.agent == agent][len(messages) // 2 - 1 :]:
        messages += [Message("assistant", turn.action), Message("user", _report(turn, output_chars))]
    return tuple(messages)


def _opening(
    scenario: Scenario, task: Task, turns: Sequence[Turn], agent: str, output_chars: int
) -> list[Message]:
    position = [role.name for role in scenario.roles].index(agent)
    role, before = scenario.roles[position], scenario.roles[:position]
    if scenario.context == "previous":
        before = before[-1:]
    opening = [task.prompt]
    for other in before:
        played = [turn for turn in turns if turn.agent == other.name]
        if played:
            opening.append(_handover(played, output_chars))
    return [
        Message("system", _system(role, position + 1, len(scenario.roles), shares_interpreter(scenario))),
        Message("user", "\n".join(opening)),
    ]


def summarize(turns: Sequence[Turn]) -> str:
    """Summarises the turns of one agent: ``error ValueError; model.pkl missing; printed done``.

    Status and last printed line are those of its last program; the states of artifacts are the latest.
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


def how_it_ended(result: Result) -> str:
    """Returns ``exit code 1, output truncated``."""
    end = result.status if result.exit_code is None else f"exit code {result.exit_code}"
    lost = ", variables lost" if result.state_lost else ""
    return f"{end}{lost}, output truncated" if result.truncated else f"{end}{lost}"


def escape_headings(text: str) -> str:
    """Returns ``text`` with plain ``\\n`` line breaks and without any line that looks like a heading."""
    return "\n".join(f"> {line}" if line.lstrip().startswith("##") else line for line in text.splitlines())


def truncate_middle(text: str, limit: int) -> str:
    """Returns ``text``, or its head and tail with the number of omitted characters between them."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return f"{text[:head]}\n[{len(text) - limit} characters left out]\n{text[len(text) - tail :]}"


def _system(role: Role, position: int, of: int, shared: bool) -> str:
    lines = [f"## Role: {role.name} ({position} of {of})", role.instructions.strip()]
    if role.requires:
        lines.append(f"Files you receive: {_names(role.requires)}")
    if role.produces:
        lines.append(f"Files you must produce: {_names(role.produces)}")
    lines.append(f"Number of turns: {role.max_turns}")
    if shared and role.can_run_code:
        lines.append(SHARED)
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
    elif not turn.last:
        lines += ["### no program", read_action(turn.action, runs_code=turn.role.can_run_code).problem]
    problems = [
        f"{check.name}: {check.detail}" for check in turn.checks if check.code != "ok" and check.detail
    ]
    if problems:
        lines += ["### checks", escape_headings("\n".join(problems))]
    return "\n".join(lines)


def _output(result: Result, limit: int) -> Iterator[str]:
    yield f"### {how_it_ended(result)}"
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text.strip():
            yield f"### {name}\n{escape_headings(truncate_middle(text, limit))}"


def _status(result: Result) -> str:
    names = _ERROR.findall(result.stderr) if result.status == "error" else []
    return f"{result.status} {names[-1]}" if names else result.status


def _printed(stdout: str) -> str:
    """Returns the last non-blank line if it is short and printable, otherwise an empty text."""
    lines = [line.strip() for line in stdout.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if len(last) <= _PRINTED_CHARS and last.isprintable() else ""

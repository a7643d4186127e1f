"""Observations in the style ``full``: sentences, for language models. Pure functions of task and turns.

Text that an agent or its program wrote is quoted as in ``envs.observations``, so that only the environment
can write a heading. Wall-clock times never appear.
"""

from __future__ import annotations

from collections.abc import Sequence

from envs.base import Scenario
from envs.full.reports import handover, report
from envs.full.terms import Terms, rules
from envs.parsing import strip_thinking
from envs.types import Message, Role, Task, Turn


def conversation(
    scenario: Scenario, terms: Terms, task: Task, turns: Sequence[Turn], agent: str
) -> tuple[Message, ...]:
    """Returns the chat that ``agent`` reads: system, task and handovers, then its actions and their results.

    The messages of an agent only grow. Its own earlier actions are shown without their thinking.
    """
    position = [role.name for role in scenario.roles].index(agent)
    before = scenario.roles[:position]
    if scenario.context == "previous":
        before = before[-1:]
    opening = [task.prompt]
    for other in before:
        played = [turn for turn in turns if turn.agent == other.name]
        if played:
            opening.append(handover(played, terms))
    messages = [
        Message("system", _system(scenario.roles, position, terms)),
        Message("user", "\n\n".join(opening)),
    ]
    for turn in turns:
        if turn.agent == agent:
            said = strip_thinking(turn.action) or "(no answer)"
            messages += [Message("assistant", said), Message("user", report(turn, terms))]
    return tuple(messages)


def _system(roles: Sequence[Role], position: int, terms: Terms) -> str:
    role = roles[position]
    parts = [f"## Role: {role.name} ({position + 1} of {len(roles)})\n{role.instructions.strip()}"]
    if role.requires or role.produces:
        parts.append(f"## Files\n{_files(role)}")
    parts.append(f"## Rules\n{rules(role, terms)}")
    return "\n\n".join(parts)


def _files(role: Role) -> str:
    lines = []
    if role.requires:
        lines.append(f"You receive: {', '.join(spec.name for spec in role.requires)}.")
    if role.produces:
        lines.append(f"You must produce: {', '.join(spec.name for spec in role.produces)}.")
    return "\n".join(lines)

"""Observations in the style ``full``: sentences, for language models. Pure functions of task and turns.

Text that an agent or its program wrote is quoted as in ``envs.observations``, so that only the environment
can write a heading, and shortened, so that a chat stays within some ten thousand tokens whatever was written.
Wall-clock times never appear.
"""

from __future__ import annotations

from collections.abc import Sequence

from envs.base import Scenario
from envs.full.files import duties, opening_listing
from envs.full.reports import handover, own_action, report
from envs.full.terms import Terms, rules
from envs.types import Message, Role, Task, Turn


def conversation(
    scenario: Scenario,
    terms: Terms,
    task: Task,
    turns: Sequence[Turn],
    agent: str,
    known: Sequence[Message] = (),
) -> tuple[Message, ...]:
    """Returns the chat that ``agent`` reads: system, task and handovers, then its actions and their results.

    The messages of an agent only grow: none of them changes with a later turn. ``known``: the first ones, as
    returned before.
    """
    messages = list(known)
    if not known:
        position = [role.name for role in scenario.roles].index(agent)
        opening = _opening(scenario, terms, task, turns, position)
        messages = [Message("system", _system(scenario.roles, position, terms)), Message("user", opening)]
    own = [place for place, turn in enumerate(turns) if turn.agent == agent]
    for place in own[len(messages) // 2 - 1 :]:
        seen = report(turns[: place + 1], terms)
        messages += [Message("assistant", own_action(turns[place])), Message("user", seen)]
    return tuple(messages)


def _opening(scenario: Scenario, terms: Terms, task: Task, turns: Sequence[Turn], position: int) -> str:
    role, before = scenario.roles[position], scenario.roles[:position]
    earlier = {other.name for other in before}
    played = [turn for turn in turns if turn.agent in earlier]
    parts = [task.prompt]
    for other in before[-1:] if scenario.context == "previous" else before:
        if own := [turn for turn in played if turn.agent == other.name]:
            parts.append(handover(own, terms))
    if role.can_run_code and (files := opening_listing(task, played)):
        parts.append(f"## Working folder\n{files}")
    parts.append(f"Now it is your turn, {role.name}.")
    return "\n\n".join(parts)


def _system(roles: Sequence[Role], position: int, terms: Terms) -> str:
    role = roles[position]
    parts = [f"## Role: {role.name} ({position + 1} of {len(roles)})\n{role.instructions.strip()}"]
    if files := duties(role):
        parts.append(f"## Files\n{files}")
    parts.append(f"## Rules\n{rules(role, terms)}")
    if role.example:
        parts.append(f"## Example of a reply, for another task\n{role.example.strip()}")
    return "\n\n".join(parts)

"""The spaces of a scenario's agents: how long actions and messages can be, from the limits of the sandbox."""

from __future__ import annotations

from gymnasium import spaces

from envs.base import Scenario
from envs.spaces import Chat, Text
from sandbox.base import Limits

_BYTES = 4
"""Most bytes of a character in UTF-8."""
_ESCAPED = 2
"""Quoting a text makes it at most this much longer (``observations.escape_headings``)."""
_FACTS_CHARS = 1 << 22
"""More than what a turn says about checks and files; and the same for a task's prompt given to ``reset``."""
_NAME_CHARS = 256


def action_spaces(scenario: Scenario, limits: Limits) -> dict[str, Text]:
    """Returns, for each agent, the texts that can be sent to a sandbox as a program, whatever their
    characters."""
    return {role.name: Text(_action_chars(limits)) for role in scenario.roles}


def observation_spaces(scenario: Scenario, limits: Limits, output_chars: int) -> dict[str, spaces.Dict]:
    """Returns, for each agent, the chats that it can read. The longest message is the task with all turns of
    all agents, as the last agent reads it."""
    turns = sum(role.max_turns for role in scenario.roles)
    turn = _ESCAPED * (_action_chars(limits) + 2 * output_chars) + _FACTS_CHARS
    longest = _FACTS_CHARS + turns * turn
    return {
        role.name: spaces.Dict({"messages": Chat(2 + 2 * turns, longest), "role": Text(_NAME_CHARS)})
        for role in scenario.roles
    }


def _action_chars(limits: Limits) -> int:
    return (limits.file_mb << 20) // _BYTES

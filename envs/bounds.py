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


def action_space(limits: Limits) -> Text:
    """Returns the texts that can be sent to a sandbox as a program, whatever their characters."""
    return Text((limits.file_mb << 20) // _BYTES)


def observation_space(scenario: Scenario, limits: Limits, output_chars: int) -> spaces.Dict:
    """Returns the chats of the scenario's agents. The longest message is the task with all turns of all
    agents, as the last agent reads it."""
    turns = sum(role.max_turns for role in scenario.roles)
    turn = _ESCAPED * (action_space(limits).max_length + 2 * output_chars) + _FACTS_CHARS
    chat = Chat(2 + 2 * turns, _FACTS_CHARS + turns * turn)
    return spaces.Dict({"messages": chat, "role": Text(_NAME_CHARS)})

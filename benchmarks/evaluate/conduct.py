"""What agents make of what they read: replies that can be read, programs that run, artifacts in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envs.actions.parsing import read_action

UNREAD = ("unreadable", "cut_thought")
"""The forms of actions that use a turn without being read (``envs.actions.parsing.Form``)."""


@dataclass(frozen=True)
class Conduct:
    """Counts over all actions of one agent."""

    actions: int = 0
    readable: int = 0
    """Of ``actions``."""
    programs: int = 0
    """Of ``actions``."""
    ran: int = 0
    """Of ``programs``, those that ended without an error."""
    artifacts: int = 0
    """Files that it had to produce, over all episodes."""
    in_order: int = 0
    """Of ``artifacts``, when its part ended."""


def conduct(episodes: Sequence[Mapping[str, Any]]) -> dict[str, Conduct]:
    """Returns the counts of each agent; ``episodes``: rows as ``coaches.episodes.read`` yields them."""
    counts: dict[str, Conduct] = {}
    for row in episodes:
        roles = {role["name"]: role for role in row["roles"]}
        for turn in row["turns"]:
            agent = turn["agent"]
            counts[agent] = _counted(counts.get(agent, Conduct()), turn, roles[agent])
    return counts


def _counted(before: Conduct, turn: Mapping[str, Any], role: Mapping[str, Any]) -> Conduct:
    form = read_action(turn["action"], runs_code=role["can_run_code"]).form
    result = turn["result"]
    after = replace(
        before,
        actions=before.actions + 1,
        readable=before.readable + (form not in UNREAD),
        programs=before.programs + (result is not None),
        ran=before.ran + (result is not None and result["status"] == "ok"),
    )
    if not turn["last"]:
        return after
    wanted = {spec["name"] for spec in role["produces"]}
    valid = {check["name"] for check in turn["checks"] if check["code"] == "ok"}
    return replace(
        after,
        artifacts=after.artifacts + len(wanted),
        in_order=after.in_order + len(wanted & valid),
    )

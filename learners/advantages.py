"""Returns, baselines and whitening, shared by policy-gradient algorithms. Plain floats; None is unknown."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import fsum, sqrt
from typing import TypeVar

from learners.types import Transition

EPSILON = 1e-8
Key = TypeVar("Key", bound=Hashable)


def returns(
    transitions: Sequence[Transition], *, credit: str, gamma: float, scale: float
) -> list[float | None]:
    """G_k of every transition: the discounted sum of the scaled rewards credited to it.

    ``credit``: ``action`` (its own reward), ``agent`` (its agent's in this episode, from it on) or ``team``
    (all agents'). A sum with an unknown reward in it is unknown.
    """
    found: list[float | None] = [None] * len(transitions)
    streams = _groups([_stream(transition, credit, i) for i, transition in enumerate(transitions)])
    for members in streams.values():
        later: float | None = 0.0
        for i in sorted(members, key=lambda i: -transitions[i].turn.index):
            reward = transitions[i].reward
            tail = gamma * later if later is not None else (0.0 if gamma == 0.0 else None)
            later = None if reward is None or tail is None else scale * reward + tail
            found[i] = later
    return found


def subtract_baseline(
    transitions: Sequence[Transition], values: Sequence[float | None], baseline: str
) -> list[float | None]:
    """Returns less the mean of their group's known ones.

    ``prompt_mean`` and ``leave_one_out`` group by (agent, task, turn), ``agent_turn_kind`` by (agent, turn,
    kind of task). ``leave_one_out`` takes the mean of the *other* rows; a row without others carries no
    information on what was better and gets 0, as it does under the mean.
    """
    if baseline == "none":
        return list(values)
    by_kind = baseline == "agent_turn_kind"
    keys = [(t.turn.agent, t.turn.kind if by_kind else t.turn.task_id, t.turn.attempt) for t in transitions]
    found: list[float | None] = [None] * len(values)
    for members in _groups(keys).values():
        known = {i: value for i in members if (value := values[i]) is not None}
        mean = fsum(known.values()) / len(known) if known else 0.0
        stretch = 1.0
        if baseline == "leave_one_out" and len(known) > 1:
            stretch = len(known) / (len(known) - 1)  # G - mean of others = (G - mean) * n / (n - 1)
        for i, value in known.items():
            found[i] = (value - mean) * stretch
    return found


def whiten(
    rows: Sequence[list[float] | None], groups: Sequence[Hashable], *, by_action: bool
) -> list[list[float] | None]:
    """Token values to mean 0 and (population) standard deviation 1 within each group; None rows stay out.

    Every token counts the same, or with ``by_action`` every row: long actions then do not set the statistics.
    Values that are all equal become 0.
    """
    found: list[list[float] | None] = [None] * len(rows)
    for members in _groups(groups).values():
        known = {i: row for i in members if (row := rows[i])}
        weights = {i: 1.0 / len(row) if by_action else 1.0 for i, row in known.items()}
        total = fsum(weights[i] * len(row) for i, row in known.items())
        mean = fsum(weights[i] * x for i, row in known.items() for x in row) / (total or 1.0)
        variance = fsum(weights[i] * (x - mean) ** 2 for i, row in known.items() for x in row) / (
            total or 1.0
        )
        for i, row in known.items():
            found[i] = [(x - mean) / (sqrt(variance) + EPSILON) for x in row]
    return found


def _stream(transition: Transition, credit: str, number: int) -> Hashable:
    if credit == "action":
        return number
    return (transition.episode, transition.turn.agent) if credit == "agent" else transition.episode


def _groups(keys: Sequence[Key]) -> dict[Key, list[int]]:
    found: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, []).append(i)
    return found

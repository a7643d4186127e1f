"""Returns, groups, baselines and whitening, shared by policy-gradient algorithms.

Plain floats, one value a transition or a list of one a token; None is unknown, or not trained on.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from math import fsum, sqrt
from typing import TypeVar

from learners.algorithms.settings import Settings
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


def earned(transitions: Sequence[Transition], settings: Settings) -> list[float | None]:
    """What every action is credited with; None where it is not trained on.

    That is: where a reward that its return needs is unknown, where it is truncated and ``truncated`` is
    ``mask``, or where nothing was sampled.
    """
    values = returns(transitions, credit=settings.credit, gamma=settings.gamma, scale=settings.reward_scale)
    for i, transition in enumerate(transitions):
        cut = transition.completion.finish_reason == "length"
        if not transition.completion.token_ids or (cut and settings.truncated == "mask"):
            values[i] = None
        elif cut and settings.truncated == "penalty" and (value := values[i]) is not None:
            values[i] = value - settings.truncated_penalty
    return values


def peers(
    transitions: Sequence[Transition], values: Sequence[float | None], group: str
) -> list[dict[int, float]]:
    """The groups of known values that are compared, by the transition's number; each has two or more.

    Group-relative methods suppose that a group answers one prompt. Episodes of one task do so in the first
    turn of their first agent alone: whoever acts later reads what the others wrote, and that differs.

    ``prompt``: the same agent and exactly the same prompt tokens. True to the papers, and hardly anything is
    left of the later agents, unless those before them all but repeat themselves.

    ``turn``: the same agent, task and turn. Approximate: part of an advantage is the luck of the input that
    the action had. That is variance and not bias, because what other episodes earned does not depend on this
    action, so their mean is a baseline like any other; dividing by a group's deviation also weighs tasks by
    how much luck there was in them.

    A row without peers tells nothing about what was better, and is in no group.
    """
    keys: list[Hashable] = [
        (t.turn.agent, t.completion.prompt_ids)
        if group == "prompt"
        else (t.turn.agent, t.turn.task_id, t.turn.attempt)
        for t in transitions
    ]
    known = [
        {i: value for i in members if (value := values[i]) is not None} for members in _groups(keys).values()
    ]
    return [members for members in known if len(members) > 1]


def group_relative(
    transitions: Sequence[Transition], values: Sequence[float | None], group: str, *, deviation: bool
) -> list[float | None]:
    """Values less the mean of their group, and over its (population) standard deviation where asked.

    None without peers (see there); 0 for all of a group of equal values.
    """
    found: list[float | None] = [None] * len(values)
    for members in peers(transitions, values, group):
        mean = fsum(members.values()) / len(members)
        variance = fsum((value - mean) ** 2 for value in members.values()) / len(members)
        scale = sqrt(variance) + EPSILON if deviation else 1.0
        for i, value in members.items():
            found[i] = (value - mean) / scale
    return found


def leave_one_out(
    transitions: Sequence[Transition], values: Sequence[float | None], group: str
) -> list[float | None]:
    """Values less the mean of the *others* of their group; None without peers (see there)."""
    found: list[float | None] = [None] * len(values)
    for members in peers(transitions, values, group):
        total = fsum(members.values())
        for i, value in members.items():
            found[i] = value - (total - value) / (len(members) - 1)
    return found


def spread_over_tokens(
    transitions: Sequence[Transition], values: Sequence[float | None]
) -> list[list[float] | None]:
    """The same value for every token of its row."""
    return [
        None if value is None else [value] * len(transition.completion.token_ids)
        for transition, value in zip(transitions, values, strict=True)
    ]


def kl_to_go(transition: Transition) -> list[float]:
    """For each token the sum, over it and those behind it, of k1 = log pi_sampling - log pi_ref.

    Raises:
        ValueError: the row has no ``ref_logprobs``.
    """
    completion, reference = transition.completion, transition.ref_logprobs
    if reference is None:
        raise ValueError("kl=reward_k1 needs ref_logprobs in every transition")
    k1 = [old - ref for old, ref in zip(completion.logprobs, reference, strict=True)]
    return list(accumulate(reversed(k1)))[::-1]


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

"""Returns, baselines and whitening, shared by policy-gradient algorithms.

Plain floats: one value a transition, or a list with one value a token. None means unknown or not trained on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import fsum, sqrt

from learners.algorithms.groups import groups, indices_by_key
from learners.algorithms.settings import Settings
from learners.types import Transition

EPSILON = 1e-8
"""Added to standard deviations."""
ROUNDING = 1e-9
"""Values whose differences are at most this share of the largest are equal: rounding alone makes them
differ, and a division by their deviation would turn it into advantages as large as any other."""


def returns(
    transitions: Sequence[Transition], *, credit: str, gamma: float, scale: float
) -> list[float | None]:
    """Each transition's return G_k: the discounted sum of the scaled rewards that are credited to it.

    ``credit``: its own reward (``action``), its agent's rewards in this episode from it on (``agent``), or
    those of all agents (``team``). A sum that includes an unknown reward is unknown.
    """
    result: list[float | None] = [None] * len(transitions)
    streams = indices_by_key(_stream(transition, credit, i) for i, transition in enumerate(transitions))
    for members in streams.values():
        later: float | None = 0.0
        for i in sorted(members, key=lambda i: -transitions[i].turn.index):
            reward = transitions[i].reward
            tail = gamma * later if later is not None else (0.0 if gamma == 0.0 else None)
            later = None if reward is None or tail is None else scale * reward + tail
            result[i] = later
    return result


def credited_returns(transitions: Sequence[Transition], settings: Settings) -> list[float | None]:
    """Each action's return under ``settings``; None where the action is not trained on.

    That is the case if its agent does not learn, if its return includes an unknown reward, if it is only its
    own reward and that says nothing about the action (``Verdict.blocked``), if it is truncated and
    ``truncated`` is ``mask``, or if nothing was sampled.
    """
    values = returns(transitions, credit=settings.credit, gamma=settings.gamma, scale=settings.reward_scale)
    for i, transition in enumerate(transitions):
        truncated = transition.completion.finish_reason == "length"
        blocked = (
            settings.credit == "action" and transition.verdict is not None and transition.verdict.blocked
        )
        left_out = not transition.learns or not transition.completion.token_ids or blocked
        if left_out or (truncated and settings.truncated == "mask"):
            values[i] = None
        elif truncated and settings.truncated == "penalty" and (value := values[i]) is not None:
            values[i] = value - settings.truncated_penalty
    return values


def equal(values: Iterable[float]) -> bool:
    """Whether all values are equal up to ``ROUNDING``; also if there are none."""
    known = list(values)
    return not known or max(known) - min(known) <= ROUNDING * max(map(abs, known))


def group_relative(
    transitions: Sequence[Transition], values: Sequence[float | None], by: str, *, deviation: bool | str
) -> list[float | None]:
    """Values minus their group's mean, divided by its standard deviation unless ``deviation`` is False.

    ``deviation`` is ``population`` (or True) or ``sample``. None for a row without a group (see ``groups``).
    If all values of a group are equal, they become 0.
    """
    result: list[float | None] = [None] * len(values)
    for members in groups(transitions, values, by):
        mean, same = fsum(members.values()) / len(members), equal(members.values())
        squares = fsum((value - mean) ** 2 for value in members.values())
        scale = sqrt(squares / (len(members) - (deviation == "sample"))) + EPSILON if deviation else 1.0
        for i, value in members.items():
            result[i] = 0.0 if same else (value - mean) / scale
    return result


def leave_one_out(
    transitions: Sequence[Transition], values: Sequence[float | None], by: str
) -> list[float | None]:
    """Values minus the mean of the *other* values of their group; None without a group (see ``groups``).

    If all values of a group are equal, they become 0.
    """
    result: list[float | None] = [None] * len(values)
    for members in groups(transitions, values, by):
        total, same = fsum(members.values()), equal(members.values())
        for i, value in members.items():
            result[i] = 0.0 if same else value - (total - value) / (len(members) - 1)
    return result


def subtract_baseline(
    transitions: Sequence[Transition], values: Sequence[float | None], baseline: str
) -> list[float | None]:
    """Values minus a baseline: ``none``, ``turn_mean`` or ``kind_mean`` of their group, or ``leave_one_out``
    by turn.

    None for a row without a group (see ``groups``), except with ``none``.
    """
    if baseline == "none":
        return list(values)
    if baseline == "leave_one_out":
        return leave_one_out(transitions, values, "turn")
    by = {"turn_mean": "turn", "kind_mean": "kind"}[baseline]
    return group_relative(transitions, values, by, deviation=False)


def spread_over_tokens(
    transitions: Sequence[Transition], values: Sequence[float | None]
) -> list[list[float] | None]:
    """Each row's value, repeated for every token of the row."""
    return [
        None if value is None else [value] * len(transition.completion.token_ids)
        for transition, value in zip(transitions, values, strict=True)
    ]


def kl_to_go(transition: Transition) -> list[float]:
    """For each token, the sum of k1 = log pi_sampling - log pi_ref over it and all later tokens.

    Raises:
        ValueError: the row has no ``ref_logprobs``.
    """
    completion, reference = transition.completion, transition.ref_logprobs
    if reference is None:
        raise ValueError("kl=reward_k1 needs ref_logprobs in every transition")
    k1 = [old - ref for old, ref in zip(completion.logprobs, reference, strict=True)]
    return list(accumulate(reversed(k1)))[::-1]


def whiten(
    rows: Sequence[list[float] | None],
    keys: Sequence[Hashable],
    *,
    by_action: bool,
    deviation: str = "population",
    returns: Sequence[float | None] | None = None,
) -> list[list[float] | None]:
    """Scales token values to mean 0 and standard deviation 1 among the rows with the same key.

    Every token has the same weight in these statistics, or with ``by_action`` every row, so that long actions
    do not dominate them. None rows are left out. If all values are equal, they become 0.

    Args:
        deviation: ``population``, or ``sample``: the unbiased estimate, which for weights w divides by
            (sum of w) - (sum of w^2) / (sum of w), the number of values minus 1 where all weights are 1.
        returns: each row's value without its KL term, if that is in the rows. If these are equal, all values
            become 0: the KL term alone, which may be no more than rounding errors, is never scaled up.
    """
    result: list[list[float] | None] = [None] * len(rows)
    for members in indices_by_key(keys).values():
        known = {i: row for i in members if (row := rows[i])}
        if equal(_signal(known, returns)):
            result = [[0.0] * len(known[i]) if i in known else row for i, row in enumerate(result)]
            continue
        mean, scale = _statistics(list(known.values()), by_action=by_action, deviation=deviation)
        for i, row in known.items():
            result[i] = [(x - mean) / (scale + EPSILON) for x in row]
    return result


def _signal(rows: Mapping[int, Sequence[float]], returns: Sequence[float | None] | None) -> Iterator[float]:
    """The values that must differ for the ``rows`` to be whitened."""
    for i, row in rows.items():
        yield from row if returns is None else (value for value in (returns[i],) if value is not None)


def _statistics(rows: Sequence[Sequence[float]], *, by_action: bool, deviation: str) -> tuple[float, float]:
    """Mean and standard deviation of all values; see ``whiten``."""
    weights = [1.0 / len(row) if by_action else 1.0 for row in rows]
    total = fsum(w * len(row) for w, row in zip(weights, rows, strict=True))
    mean = fsum(w * x for w, row in zip(weights, rows, strict=True) for x in row) / total
    squares = fsum(w * (x - mean) ** 2 for w, row in zip(weights, rows, strict=True) for x in row)
    if deviation == "sample":
        total -= fsum(w * w * len(row) for w, row in zip(weights, rows, strict=True)) / total
    return mean, sqrt(squares / total)


def _stream(transition: Transition, credit: str, index: int) -> Hashable:
    """Rows with the same key have their rewards summed."""
    if credit == "action":
        return index
    return (transition.episode, transition.turn.agent) if credit == "agent" else transition.episode

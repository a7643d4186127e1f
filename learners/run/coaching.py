"""What the coach said of a step, and what that took: numbers for a run's records."""

from __future__ import annotations

from collections.abc import Sequence

from learners.base import Metrics
from learners.types import Transition


def scores(transitions: Sequence[Transition]) -> Metrics:
    """The coach's mean score by agent, on its own scale of 0 to 10."""
    found: dict[str, list[float]] = {}
    for transition in transitions:
        if transition.reward is not None:
            found.setdefault(transition.turn.agent, []).append(transition.reward)
    return {f"score/{agent}": sum(values) / len(values) for agent, values in found.items()}


def prices(transitions: Sequence[Transition]) -> Metrics:
    """What the step's verdicts cost, in US dollars and tokens, in all and by agent; nothing for a free coach.

    A cached verdict counts with what it cost when it was reached: a resumed run, which finds what it paid for
    before, has the same numbers as an unbroken one. What was paid this time is in ``effort``.
    """
    row: Metrics = {}
    for transition in transitions:
        verdict = transition.verdict
        if verdict is None or verdict.usage is None:
            continue
        tokens = float(verdict.usage.prompt_tokens + verdict.usage.completion_tokens)
        for name, value in (("cost", verdict.cost), ("coach_tokens", tokens)):
            for key in (name, f"{name}/{transition.turn.agent}"):
                row[key] = row.get(key, 0.0) + value
    return row


def effort(transitions: Sequence[Transition]) -> Metrics:
    """What is never the same twice: the share of the step's verdicts that came from a cache, and for the rest
    the US dollars paid, the requests sent and the mean seconds that a verdict took.
    """
    verdicts = [transition.verdict for transition in transitions if transition.verdict is not None]
    told = [(verdict.usage, verdict.cost) for verdict in verdicts if verdict.usage is not None]
    if not told:
        return {}
    fresh = [(usage, cost) for usage, cost in told if not usage.cached]
    row = {"coach_cached": 1.0 - len(fresh) / len(told), "coach_paid": sum(cost for _, cost in fresh)}
    row["coach_calls"] = float(sum(usage.calls for usage, _ in fresh))
    row["coach_latency"] = sum(usage.seconds for usage, _ in fresh) / len(fresh) if fresh else 0.0
    return row

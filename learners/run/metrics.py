"""The numbers of a step or an evaluation: what the grader decided or we counted, and what the coach said and
cost.

Functions named ``coach_…`` report the coach; the others never depend on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import NamedTuple

from scipy.stats import norm  # type: ignore[import-untyped]

from coaches.base import Verdict
from envs.actions.parsing import read_action
from envs.types import Episode, Turn
from learners.types import Metrics, Rollout, Transition


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson(successes: float, trials: int) -> Interval:
    """Returns Wilson's score interval for a proportion (E. B. Wilson, JASA 22, 1927).

    ``successes`` may be fractional, which scipy's ``binomtest`` does not accept.
    """
    p, n, z = successes / trials, trials, float(norm.ppf(0.975))
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    margin = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(max(0.0, middle - margin), min(1.0, middle + margin))


def summarise(episodes: Sequence[Episode]) -> Metrics:
    """Returns means over all episodes, per task kind (``success/regression``) and agent
    (``delivered/modeler``).

    ``success``: share that the grader accepts; ``raw``: mean score of the accepted ones; ``fair``: mean over
    all, where a failure counts as a constant does; ``delivered``: share of an agent's stages that are
    ``delivered``; ``turns``: an agent's turns per episode; ``action_form``: how many actions have each form
    (``envs.actions.parsing.Form``), and ``signal``: how many episodes show each signal (``Outcome.signals``),
    only those that occur.
    """
    row = _outcomes(episodes, "")
    for kind in sorted({episode.kind for episode in episodes}):
        row |= _outcomes([episode for episode in episodes if episode.kind == kind], f"/{kind}")
    for agent, stages in _stages(episodes).items():
        row[f"delivered/{agent}"] = _mean(float(delivered(stage)) for stage in stages)
        row[f"turns/{agent}"] = _mean(len(stage) for stage in stages)
    signals = Counter(signal for episode in episodes for signal in episode.outcome.signals)
    row |= {f"signal/{signal}": float(count) for signal, count in sorted(signals.items())}
    return row | _forms(episodes)


def delivered(stage: Sequence[Turn]) -> bool:
    """Whether an agent's stage (its turns in an episode) ends with every artifact that it must produce valid,
    and its last program ran without an error."""
    results = [turn.result for turn in stage if turn.result is not None]
    produced = {spec.name for spec in stage[-1].role.produces}
    valid = {check.name for check in stage[-1].checks if check.code == "ok"}
    return produced <= valid and (not results or results[-1].status == "ok")


def coach_scores(transitions: Sequence[Transition]) -> Metrics:
    """Returns the coach's mean score per agent, on its own scale of 0 to 10, and the share of blocked
    verdicts."""
    verdicts: dict[str, list[Verdict]] = {}
    for transition in transitions:
        if transition.verdict is not None:
            verdicts.setdefault(transition.turn.agent, []).append(transition.verdict)
    return {f"score/{agent}": _mean(one.score for one in given) for agent, given in verdicts.items()} | {
        f"blocked/{agent}": _mean(float(one.blocked) for one in given) for agent, given in verdicts.items()
    }


def recovered(rollouts: Sequence[Rollout]) -> float:
    """Returns how many sandboxes were lost and replaced in episodes that went on."""
    results = (turn.result for rollout in rollouts for turn in rollout.episode.turns)
    return float(sum(result.losses for result in results if result is not None))


def masked(causes: Mapping[str, int]) -> Metrics:
    """Turns without a verdict, which are masked out of training: in total and by cause."""
    row = {"masked": float(sum(causes.values()))}
    return row | {f"masked/{cause}": float(count) for cause, count in sorted(causes.items())}


def coach_costs(transitions: Sequence[Transition]) -> Metrics:
    """Returns what the step's verdicts cost, in US dollars and tokens, in total and per agent; empty if free.

    A cached verdict counts with what it cost when it was made, so that a resumed run, which finds its earlier
    verdicts in the cache, has the same numbers as an unbroken one. ``coach_effort`` has what was paid this
    time.
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


def coach_effort(transitions: Sequence[Transition]) -> Metrics:
    """Returns what differs between identical runs: the share of verdicts that came from the cache and, for
    the others, the US dollars paid, the requests sent and the mean seconds per verdict.
    """
    verdicts = [transition.verdict for transition in transitions if transition.verdict is not None]
    metered = [(verdict.usage, verdict.cost) for verdict in verdicts if verdict.usage is not None]
    if not metered:
        return {}
    fresh = [(usage, cost) for usage, cost in metered if not usage.cached]
    row = {"coach_cached": 1.0 - len(fresh) / len(metered), "coach_paid": sum(cost for _, cost in fresh)}
    row["coach_calls"] = float(sum(usage.calls for usage, _ in fresh))
    row["coach_latency"] = sum(usage.seconds for usage, _ in fresh) / len(fresh) if fresh else 0.0
    return row


def total(parts: Iterable[Metrics]) -> Metrics:
    """Returns the sum of each value over all ``parts``."""
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part)
    return dict(sums)


def _outcomes(episodes: Sequence[Episode], suffix: str) -> Metrics:
    outcomes = [episode.outcome for episode in episodes]
    scores = [outcome.score for outcome in outcomes if outcome.success]
    row = {
        f"episodes{suffix}": float(len(outcomes)),
        f"success{suffix}": _mean(float(outcome.success) for outcome in outcomes),
        f"fair{suffix}": _mean(outcome.metrics["fair"] for outcome in outcomes),
    }
    return row | ({f"raw{suffix}": _mean(scores)} if scores else {})


def _forms(episodes: Sequence[Episode]) -> Metrics:
    turns = [turn for episode in episodes for turn in episode.turns]
    forms = Counter(read_action(turn.action, runs_code=turn.role.can_run_code).form for turn in turns)
    return {f"action_form/{form}": float(count) for form, count in sorted(forms.items())}


def _stages(episodes: Sequence[Episode]) -> dict[str, list[list[Turn]]]:
    agent_of: Callable[[Turn], str] = lambda turn: turn.agent  # noqa: E731
    stages: dict[str, list[list[Turn]]] = {}
    for episode in episodes:
        for agent, turns in groupby(episode.turns, agent_of):
            stages.setdefault(agent, []).append(list(turns))
    return stages


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)

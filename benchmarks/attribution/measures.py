"""From guesses to accuracies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.attribution.constants import TOP, Guesser
from benchmarks.attribution.runs import Guess, Run
from benchmarks.common import estimates
from benchmarks.common.estimates import Estimate
from coaches.base import AnyCoach, History, sees
from coaches.judging.verdicts import Judged, judge_episode, total_cost


@dataclass(frozen=True)
class Row:
    """One guesser on one part of the data; intervals are 95 % intervals over tasks."""

    name: str
    agent: Estimate
    """Share of runs in which the suspect is the agent at fault."""
    step: Estimate
    """Share in which the most suspect message is exactly the one at fault. Equally suspect ones share it."""
    top: Estimate
    """Share in which the message at fault is among the ``constants.TOP`` most suspect ones."""
    answer: bool
    """The coach was shown the true answer."""
    cost: float
    """US dollars a run."""
    seconds: float
    """Time a run."""
    causes: Mapping[str, int]
    """Number of turns without a verdict, by cause."""
    messages: Mapping[str, str]
    """Cause -> the first message that came with it."""


def constant(name: str, guesser: Guesser, runs: Sequence[Run]) -> Row:
    """Returns the row of a guesser that reads nothing."""
    return _row(name, runs, [guesser(run) for run in runs])


def judged(name: str, coach: AnyCoach, runs: Sequence[Run], threads: int) -> Row:
    """Lets a coach judge every run; its suspect is the turn with the lowest score.

    Raises:
        BudgetError: its budget is spent.
        ConfigError: it cannot judge such episodes.
    """
    with ThreadPoolExecutor(threads, "run") as pool:
        found = list(pool.map(lambda run: _judge(coach, run), runs))
    every = [one for verdicts, _ in found for one in verdicts]
    masked = [one for one in every if one.verdict is None]
    return _row(
        name,
        runs,
        [guess(run, verdicts) for run, (verdicts, _) in zip(runs, found, strict=True)],
        answer=any("answer" in (*one.agents.values(), one.others) for one in sees(coach)),
        cost=total_cost([one.verdict for one in every]) / len(runs),
        seconds=sum(seconds for _, seconds in found) / len(runs),
        causes=dict(Counter(one.cause for one in masked)),
        messages={one.cause: one.message for one in reversed(masked)},
    )


def guess(run: Run, verdicts: Sequence[Judged]) -> Guess:
    """Returns what scores say: the lower, the more suspect. The suspects are whom the lowest ones blame, or
    else whose they are; turns without a verdict are not suspect."""
    spoken = zip(run.messages, run.episode.turns, verdicts, strict=True)
    scored = [(place, turn, one.verdict) for place, turn, one in spoken if one.verdict is not None]
    scores = sorted({verdict.score for _, _, verdict in scored})
    groups = [tuple(place for place, _, verdict in scored if verdict.score == score) for score in scores]
    agents = [verdict.blame or turn.agent for _, turn, verdict in scored if verdict.score == scores[0]]
    return Guess(tuple(agents), tuple(groups))


def found_agent(run: Run, made: Guess) -> float:
    """Returns the probability that a suspect, drawn at random, is the agent at fault."""
    return made.agents.count(run.agent) / len(made.agents) if made.agents else 0.0


def found_step(run: Run, made: Guess, top: int) -> float:
    """Returns the probability that the message at fault is among the ``top`` most suspect ones, with equally
    suspect ones in random order."""
    before = 0
    for group in made.messages:
        if run.message in group:
            return min(1.0, max(0, top - before) / len(group))
        before += len(group)
    return 0.0


def _judge(coach: AnyCoach, run: Run) -> tuple[list[Judged], float]:
    turns = run.episode.turns if run.answer is None else History(run.episode.turns, run.answer)
    start = time.perf_counter()
    verdicts = judge_episode(coach, turns, run.episode.outcome)
    return verdicts, time.perf_counter() - start


def _row(
    name: str,
    runs: Sequence[Run],
    guesses: Sequence[Guess],
    *,
    answer: bool = False,
    cost: float = 0.0,
    seconds: float = 0.0,
    causes: Mapping[str, int] | None = None,
    messages: Mapping[str, str] | None = None,
) -> Row:
    both = list(zip(runs, guesses, strict=True))
    return Row(
        name,
        estimates.share([(run.episode.task_id, found_agent(run, made)) for run, made in both]),
        estimates.share([(run.episode.task_id, found_step(run, made, 1)) for run, made in both]),
        estimates.share([(run.episode.task_id, found_step(run, made, TOP)) for run, made in both]),
        answer,
        cost,
        seconds,
        causes or {},
        messages or {},
    )

"""Verifies the recorded corpus: checks its labels and plays its actions again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.corpus.build import FAULTS, MARGIN, environment
from benchmarks.corpus.cases import SPLITS, Case, path_of, read_file
from benchmarks.corpus.play import perform
from benchmarks.corpus.team import Team
from envs.pipeline import PipelineEnv
from envs.types import Task, Turn
from sandbox.base import Backend

TOLERANCE = 0.02
"""Tolerated difference from a recorded fair score, because processors round differently."""


def verify(backend: Backend, folder: Path, say: Callable[[str], None], *, some: int | None = None) -> int:
    """Replays the corpus, or ``some`` evenly spread episodes of it, and reports every difference.

    Returns 0 if there is none, otherwise 1.

    Raises:
        ConfigError: the corpus cannot be read.
        SandboxError: a sandbox was lost.
    """
    cases = [case for split in SPLITS for case in read_file(path_of(split, folder))]
    complaints = list(inconsistencies(cases))
    step = 1 if not some else max(1, math.ceil(len(cases) / some))
    chosen = cases[::step]
    by_env = [[case for case in chosen if case.env == env] for env in FAULTS]
    with ThreadPoolExecutor(2) as pool:
        for differences in pool.map(lambda part: replay(backend, part), by_env):
            complaints += differences
    for line in complaints:
        say(line)
    say(f"{len(chosen)} of {len(cases)} episodes replayed, {len(complaints)} complaints")
    return 1 if complaints else 0


def inconsistencies(cases: Sequence[Case]) -> Iterator[str]:
    """Returns errors in the labels that the records alone show."""
    named = {case.episode.id: case for case in cases}
    if len(named) < len(cases):
        yield "some episodes have the same id"
    both = set.intersection(*({c.episode.task_id for c in cases if c.split == split} for split in SPLITS))
    if both:
        yield f"tasks in both splits: {', '.join(sorted(both))}"
    for case in cases:
        outcome = case.episode.outcome
        if case.label is None:
            if outcome is None or not outcome.success:
                yield f"{case.episode.id}: it is labelled sound but did not succeed"
        elif (twin := named.get(case.twin or "")) is None or twin.label is not None:
            yield f"{case.episode.id}: there is no sound twin {case.twin}"
        else:
            yield from _against(case, twin, cases)


def _against(case: Case, twin: Case, cases: Sequence[Case]) -> Iterator[str]:
    assert case.label is not None
    same = (case.env, case.seed, case.style, case.split, case.episode.task_id)
    if same != (twin.env, twin.seed, twin.style, twin.split, twin.episode.task_id):
        yield f"{case.episode.id}: its twin is of another task, style or seed"
    ours, theirs = ([turn.action for turn in c.episode.turns] for c in (case, twin))
    first = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if first != case.label.turn:
        yield f"{case.episode.id}: it departs from its twin in turn {first}, not in {case.label.turn}"
    outcome, least = case.episode.outcome, min(map(fair, siblings(case, cases)))
    if outcome is not None and outcome.success and fair(case) > least - MARGIN:
        yield f"{case.episode.id}: the fault makes no difference ({fair(case):.3f}, sound {least:.3f})"


def siblings(case: Case, cases: Sequence[Case]) -> list[Case]:
    """Returns the sound episodes of the same task."""
    return [c for c in cases if c.label is None and c.episode.task_id == case.episode.task_id]


def fair(case: Case) -> float:
    """Returns the recorded fair score."""
    assert case.episode.outcome is not None
    return case.episode.outcome.metrics["fair"]


def replay(backend: Backend, cases: Sequence[Case]) -> list[str]:
    """Replays cases, all of one environment, and returns the differences from the records."""
    if not cases:
        return []
    env = environment(cases[0].env, backend)
    tasks = {task.id: task for split in ("train", "heldout") for task in env.scenario.tasks(split)}
    return [line for case in cases for line in _replayed(env, case, tasks)]


def _replayed(env: PipelineEnv, case: Case, tasks: Mapping[str, Task]) -> Iterator[str]:
    name, turns, outcome = case.episode.id, case.episode.turns, case.episode.outcome
    assert outcome is not None
    if case.episode.task_id not in tasks:
        yield f"{name}: there is no task {case.episode.task_id}"
        return
    replacements = {turn.index: turn.action for turn in turns}
    played = perform(env, tasks[case.episode.task_id], case.seed, replacements, name)
    again = played.rollout.episode
    if len(again.turns) != len(turns) or not all(map(_same, again.turns, turns)):
        yield f"{name}: programs or checks differ from the record"
    if (again.outcome.success, again.outcome.failure_code) != (outcome.success, outcome.failure_code):
        yield f"{name}: it ended with {again.outcome.failure_code}, but {outcome.failure_code} is recorded"
    elif abs(played.fair - fair(case)) > TOLERANCE:
        yield f"{name}: it scored {played.fair:.3f}, but {fair(case):.3f} is recorded"
    team = Team(Team.Config())
    own = [turn.index for turn in turns if team.act(turn.agent, turn.observation, case.seed) != turn.action]
    if own != ([] if case.label is None else [case.label.turn]):
        yield f"{name}: the team would have acted differently in turns {own}"


def _state(turn: Turn) -> tuple[object, ...]:
    status = turn.result.status if turn.result is not None else None
    return turn.agent, status, turn.last, *((check.name, check.code, check.detail) for check in turn.checks)


def _same(again: Turn, recorded: Turn) -> bool:
    """Returns whether a turn ended as it did, and its checks say what the recorded ones say: the corpus has
    not all of their facts."""
    return _state(again) == _state(recorded) and all(
        check.facts.items() >= known.facts.items()
        for check, known in zip(again.checks, recorded.checks, strict=True)
    )

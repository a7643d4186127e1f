"""Chooses turns of recorded episodes and writes them as rows for fine-tuning."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.export.provenance import Source, sources
from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from conf import ConfigError
from conf.counts import plural
from envs.types import Message, Turn
from learners.report.handoffs import diagnose
from learners.report.reading import Row, Run, episodes_of

KINDS = ("sft", "preferences", "prm", "episodes")
"""What a row can be."""


@dataclass(frozen=True)
class Wanted:
    """Which rows are made."""

    what: str
    agent: str | None
    """None: of every agent; ``blamed``: of the one that explains most failed episodes."""
    min_score: float
    """Of an action, for ``sft``."""
    margin: float
    """Least difference of the scores of a pair."""
    succeeded: bool
    phase: str | None
    balance: bool
    most: int | None
    seed: int


@dataclass(frozen=True)
class Exported:
    """The rows, and one line about them."""

    rows: Sequence[Mapping[str, Any]]
    summary: str


@dataclass(frozen=True)
class Judged:
    """A turn with its verdict, its episode, and where it comes from."""

    turn: Turn
    verdict: Verdict
    source: Mapping[str, Any]
    success: bool | None

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.turn.observation

    def completion(self) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": self.turn.action}]


def export(runs: Sequence[Run], wanted: Wanted, skipped: list[str] | None) -> Exported:
    """Returns the rows that ``wanted`` describes, the best first.

    Raises:
        ConfigError: an episode is invalid, or no episode has the agent.
    """
    read = [
        (source, row, episode)
        for run in runs
        for source in [sources(run)]
        for row, episode in episodes_of(run, skipped=skipped)
        if wanted.phase in (None, episode.phase)
    ]
    agent = _agent([episode for *_, episode in read], wanted.agent)
    kept = [one for one in read if not wanted.succeeded or (one[2].outcome and one[2].outcome.success)]
    judged = [turn for one in kept for turn in _judged(*one, agent)]
    if wanted.what == "episodes":
        made = [(dict(row) | {"provenance": source.episode(row, one)}, one.kind) for source, row, one in kept]
    else:
        made = {"sft": _best, "preferences": _pairs, "prm": _scored}[wanted.what](judged, wanted)
    made = (_balanced(made, wanted.seed) if wanted.balance else made)[: wanted.most]
    counts = sorted(Counter(kind or "no kind" for _, kind in made).items())
    by_kind = ", ".join(f"{kind} {count}" for kind, count in counts)
    whose = f" of {agent}" if agent else ""
    summary = (
        f"{plural(len(made), 'row')} ({wanted.what}) from {plural(len(judged), 'judged action')}{whose} in "
    )
    summary += plural(len(kept), "episode") + (f": {by_kind}" if by_kind else "")
    return Exported([row for row, _ in made], summary)


def _agent(episodes: Sequence[RecordedEpisode], name: str | None) -> str | None:
    agents = list(dict.fromkeys(turn.agent for episode in episodes for turn in episode.turns))
    if name is None or name in agents:
        return name
    if name != "blamed":
        raise ConfigError(f"--agent: no episode has the agent {name!r}; they have {', '.join(agents)}")
    found = (diagnose(episode.turns, episode.outcome) for episode in episodes)
    culprits = Counter(one.culprit.agent for one in found if one is not None)
    if not culprits:
        raise ConfigError("--agent blamed: no episode failed")
    return culprits.most_common(1)[0][0]


def _judged(source: Source, row: Row, episode: RecordedEpisode, agent: str | None) -> Iterator[Judged]:
    """Yields the turns with a verdict that says something about their action."""
    success = None if episode.outcome is None else episode.outcome.success
    for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
        if verdict is not None and not verdict.blocked and agent in (None, turn.agent):
            yield Judged(turn, verdict, source.turn(row, episode, turn, verdict), success)


def _best(judged: Iterable[Judged], wanted: Wanted) -> list[tuple[dict[str, Any], str]]:
    """Returns prompt and action of each action that scores at least ``min_score``, each once."""
    best: dict[Any, Judged] = {}
    for one in judged:
        if one.verdict.score >= wanted.min_score:
            key = (one.prompt, one.turn.action)
            best[key] = max(best.get(key, one), one, key=_rank)
    ordered = sorted(best.values(), key=_rank, reverse=True)
    return [
        (_row(one, prompt=_messages(one.prompt), completion=one.completion()), one.turn.kind)
        for one in ordered
    ]


def _pairs(judged: Iterable[Judged], wanted: Wanted) -> list[tuple[dict[str, Any], str]]:
    """Returns the best and the worst action after each prompt, if their scores differ by ``margin``."""
    groups: dict[tuple[Message, ...], list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.prompt].append(one)
    pairs = [(max(group, key=_score), min(group, key=_score)) for group in groups.values() if len(group) > 1]
    wide = [
        (high, low)
        for high, low in pairs
        if high.turn.action != low.turn.action and _score(high) - _score(low) >= wanted.margin
    ]
    wide.sort(key=lambda pair: _score(pair[1]) - _score(pair[0]))
    return [
        (
            _row(high, prompt=_messages(high.prompt), chosen=high.completion(), rejected=low.completion())
            | {"margin": _score(high) - _score(low), "rejected_provenance": low.source},
            high.turn.kind,
        )
        for high, low in wide
    ]


def _rank(one: Judged) -> tuple[bool, float]:
    return one.success is True, one.verdict.score


def _score(one: Judged) -> float:
    return one.verdict.score


def _scored(judged: Iterable[Judged], wanted: Wanted) -> list[tuple[dict[str, Any], str]]:
    """Returns every action as one step with its score, each action after the same prompt once."""
    groups: dict[Any, list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.prompt, one.turn.action].append(one)
    rows = []
    for group in groups.values():
        first, score = group[0], sum(one.verdict.score for one in group) / len(group)
        text = "\n\n".join(message.content for message in first.prompt)
        labels = {"prompt": text, "completions": [first.turn.action], "labels": [score >= 5.0]}
        rows.append((_row(first, **labels) | {"score": score, "n": len(group)}, first.turn.kind))
    return rows


def _row(one: Judged, **columns: Any) -> dict[str, Any]:
    return columns | {"score": one.verdict.score, "provenance": one.source}


def _messages(prompt: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt]


def _balanced(made: Sequence[tuple[dict[str, Any], str]], seed: int) -> list[tuple[dict[str, Any], str]]:
    """Keeps as many rows of each kind as the rarest one has, chosen by the seed; their order stays."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, kind) in enumerate(made):
        places[kind].append(place)
    least = min(map(len, places.values()), default=0)
    rng = random.Random(seed)
    kept = sorted(place for group in places.values() for place in rng.sample(group, least))
    return [made[place] for place in kept]

"""Chooses turns of recorded episodes and writes them as rows for fine-tuning."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.export.provenance import Source, cut_off, sources, template_arguments
from benchmarks.export.replacements import REPLACED, Read, replacements
from coaches import prm
from coaches.episodes import RecordedEpisode
from coaches.replay.stages import Stages
from conf import ConfigError
from conf.counts import plural
from envs.types import Message, Turn
from learners.report.handoffs import diagnose
from learners.report.reading import Row, Run, episodes_of

KINDS = ("sft", "preferences", "counterfactuals", "prm", "episodes")
"""What a row can be."""
PHASES = ("train", "eval", "all")
"""Of which episodes: all but those of evaluations, theirs alone, or both."""
Made = list[tuple[dict[str, Any], str]]
"""Rows, each with the kind of its task."""


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
    phase: str
    """One of ``PHASES``."""
    balance: bool
    most: int | None
    seed: int
    tries: int
    """Replacements tried for each failed episode, for ``counterfactuals``."""
    threads: int
    """Failed episodes replayed in parallel, for ``counterfactuals``."""


@dataclass(frozen=True)
class Exported:
    """The rows, and one line about them."""

    rows: Sequence[Mapping[str, Any]]
    summary: str


@dataclass(frozen=True)
class Judged:
    """A turn with its verdict, its episode, and where it comes from."""

    turn: Turn
    score: float
    """The mean of the scores that the action got after the same prompt."""
    n: int
    """How many those are."""
    source: Mapping[str, Any]
    chat: Mapping[str, Any]
    """The arguments of the chat template."""
    success: bool | None
    cut: bool
    """Whether the completion ran out of tokens."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.turn.observation

    def completion(self) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": self.turn.action}]


def export(
    runs: Sequence[Run], wanted: Wanted, skipped: list[str] | None, stages: Callable[[Run], Stages]
) -> Exported:
    """Returns the rows that ``wanted`` describes, the best first.

    Args:
        stages: where the episodes of a run are replayed, for ``counterfactuals``.

    Raises:
        ConfigError: an episode is invalid, no episode has the agent, or nothing can be replayed.
    """
    everything = [
        (run, source, row, episode)
        for run in runs
        for source in [sources(run)]
        for row, episode in episodes_of(run, skipped=skipped)
    ]
    read = [one for one in everything if in_phase(wanted.phase, one[3])]
    agent, whose = _agent([episode for *_, episode in read], wanted.agent)
    if wanted.what == "counterfactuals":
        found, ends = replacements(read, agent, stages, tries=wanted.tries, threads=wanted.threads)
        made = [one.row() for one in found]
        counted = sorted(ends.items(), key=lambda end: (end[0] != REPLACED, -end[1], end[0]))
        total = plural(sum(ends.values()), "failed episode")
        origin = f"{total}: {', '.join(f'{count} {end}' for end, count in counted)}" if ends else ""
    else:
        made, origin = _recorded(read, agent, wanted)
    made = (_balanced(made, wanted.seed) if wanted.balance else made)[: wanted.most]
    counts = sorted(Counter(kind or "no kind" for _, kind in made).items())
    by_kind = f" ({', '.join(f'{kind} {count}' for kind, count in counts)})" if counts else ""
    summary = (
        f"{plural(len(made), 'row')} of --what {wanted.what}{by_kind}{whose}, from {origin or 'no episode'}"
        f"{_left_out(wanted.phase, len(everything) - len(read))}"
    )
    return Exported([row for row, _ in made], summary)


def in_phase(wanted: str, episode: RecordedEpisode) -> bool:
    """Returns whether an episode belongs to ``wanted``; of training is all that no evaluation played."""
    return wanted == "all" or (episode.phase == "eval") == (wanted == "eval")


def _left_out(phase: str, count: int) -> str:
    where = "evaluations" if phase == "train" else "training"
    return f"; {plural(count, 'episode')} of {where} left out (--phase)" if count else ""


def _recorded(read: Sequence[Read], agent: str | None, wanted: Wanted) -> tuple[Made, str]:
    """Returns rows of what was recorded, and from how much."""
    kept = [one for one in read if not wanted.succeeded or (one[3].outcome and one[3].outcome.success)]
    if wanted.what == "episodes":
        rows = [dict(row) | {"provenance": source.episode(row, one)} for _, source, row, one in kept]
        return [(row, one[3].kind) for row, one in zip(rows, kept, strict=True)], plural(len(kept), "episode")
    judged = [turn for _, source, row, one in kept for turn in _judged(source, row, one, agent)]
    made = {"sft": _best, "preferences": _pairs, "prm": _steps}[wanted.what](_actions(judged), wanted)
    return made, f"{plural(len(judged), 'judged action')} in {plural(len(kept), 'episode')}"


def _agent(episodes: Sequence[RecordedEpisode], name: str | None) -> tuple[str | None, str]:
    """Returns the agent whose turns are wanted, None for every agent, and what the summary says of it."""
    agents = list(dict.fromkeys(turn.agent for episode in episodes for turn in episode.turns))
    if name is None or name in agents:
        return name, f" of {name}" if name else ""
    if name != "blamed":
        raise ConfigError(f"--agent: no episode has the agent {name!r}; they have {', '.join(agents)}")
    found = (diagnose(episode.turns, episode.outcome) for episode in episodes)
    culprits = Counter(one.culprit.agent for one in found if one is not None)
    if not culprits:
        raise ConfigError("--agent blamed: no episode failed")
    [(blamed, count)] = culprits.most_common(1)
    return blamed, f" of {blamed}, which explains {count} of {plural(culprits.total(), 'failed episode')}"


def _judged(source: Source, row: Row, episode: RecordedEpisode, agent: str | None) -> Iterator[Judged]:
    """Yields the turns with a verdict that says something about their action, unless that is empty."""
    success = None if episode.outcome is None else episode.outcome.success
    for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
        if verdict is None or verdict.blocked or agent not in (None, turn.agent) or not turn.action.strip():
            continue
        origin = source.turn(row, episode, turn, verdict)
        chat, cut = source.chat(turn.agent), cut_off(row, turn)
        yield Judged(turn, verdict.score, 1, origin, chat, success, cut)


def _actions(judged: Iterable[Judged]) -> list[Judged]:
    """Returns each action after the same prompt once, with the mean of its scores: the one whose episode
    succeeded, if one did."""
    groups: dict[Any, list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.prompt, one.turn.action].append(one)
    return [
        replace(
            max(group, key=_rank),
            score=sum(one.score for one in group) / len(group),
            n=len(group),
            cut=all(one.cut for one in group),
        )
        for group in groups.values()
    ]


def _best(actions: Sequence[Judged], wanted: Wanted) -> Made:
    """Returns prompt and action of each whole action that scores at least ``min_score``."""
    good = (one for one in actions if one.score >= wanted.min_score and not one.cut)
    best = sorted(good, key=_rank, reverse=True)
    return [
        _row(one, prompt=_messages(one.prompt), completion=one.completion(), **template_arguments(one.chat))
        for one in best
    ]


def _pairs(actions: Sequence[Judged], wanted: Wanted) -> Made:
    """Returns the best whole action and the worst one after each prompt, if their scores differ by
    ``margin``."""
    groups: dict[tuple[Message, ...], list[Judged]] = defaultdict(list)
    for one in actions:
        groups[one.prompt].append(one)
    whole = {prompt: [one for one in group if not one.cut] for prompt, group in groups.items()}
    pairs = [(max(whole[key], key=_score), min(groups[key], key=_score)) for key in groups if whole[key]]
    wide = [(high, low) for high, low in pairs if high is not low and high.score - low.score >= wanted.margin]
    wide.sort(key=lambda pair: pair[1].score - pair[0].score)
    return [
        _row(
            high,
            prompt=_messages(high.prompt),
            chosen=high.completion(),
            rejected=low.completion(),
            **template_arguments(high.chat),
            margin=high.score - low.score,
            rejected_provenance=low.source,
        )
        for high, low in wide
    ]


def _steps(actions: Sequence[Judged], wanted: Wanted) -> Made:
    """Returns every action as one step with its score."""
    return [_row(one, **prm.columns(one.turn, good=one.score >= 5.0)) for one in actions]


def _rank(one: Judged) -> tuple[bool, float]:
    return one.success is True, one.score


def _score(one: Judged) -> float:
    return one.score


def _row(one: Judged, **columns: Any) -> tuple[dict[str, Any], str]:
    """Returns the row and the kind of its task."""
    return columns | {"score": one.score, "n": one.n, "provenance": one.source}, one.turn.kind


def _messages(prompt: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt]


def _balanced(made: Sequence[tuple[dict[str, Any], str]], seed: int) -> Made:
    """Keeps as many rows of each kind as the rarest one has, chosen by the seed; their order stays."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, kind) in enumerate(made):
        places[kind].append(place)
    least = min(map(len, places.values()), default=0)
    rng = random.Random(seed)
    kept = sorted(place for group in places.values() for place in rng.sample(group, least))
    return [made[place] for place in kept]

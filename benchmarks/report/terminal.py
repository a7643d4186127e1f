"""The report on the terminal: failed episodes as lines, and one episode in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from coaches.evidence import checks
from conf import ConfigError
from conf.tables import make_table
from envs.episode.terminal import as_terminal
from envs.types import Turn
from learners.report.handoffs import Diagnosis, broken, diagnose, handoffs
from learners.report.reading import Row, Run, episodes_of
from learners.report.tokens import of_episode

_UNLIMITED = 1_000_000
"""Characters: wider than any table."""
MOST = 4000
"""Characters that are shown of the head and of the tail of a text."""


@dataclass(frozen=True)
class Wanted:
    """Which failed episodes are listed; None: any."""

    agent: str | None = None
    code: str | None = None
    """Of the outcome, or of an artifact that was left broken."""
    task: str | None = None
    step: int | None = None

    def admits(self, episode: RecordedEpisode, found: Diagnosis) -> bool:
        """Returns whether a failed episode is wanted."""
        return (
            self.agent in (None, found.culprit.agent)
            and (self.code is None or self.code in _codes(episode))
            and self.task in (None, episode.task_id)
            and self.step in (None, episode.step)
        )


def list_failed(run: Run, wanted: Wanted, console: Console, skipped: list[str] | None) -> None:
    """Prints a line for every failed episode that is wanted, and how many each agent broke.

    Raises:
        ConfigError: an episode is invalid (see ``coaches.episodes.read``).
    """
    table = make_table(
        f"Failed episodes of {line(run.title)}",
        ["episode", "task", "culprit", "turn", "what broke first, and what followed"],
        text=["episode", "task", "culprit", "what broke first, and what followed"],
    )
    total, culprits = 0, Counter[str]()
    seen: dict[str, set[Any]] = {name: set() for name in ("agent", "task", "code", "step")}
    for _, episode in episodes_of(run, skipped=skipped):
        total += 1
        seen["task"].add(episode.task_id)
        seen["agent"] |= {turn.agent for turn in episode.turns}
        seen["step"].add(episode.step)
        found = diagnose(episode.turns, episode.outcome)
        if found is not None:
            seen["code"] |= _codes(episode)
        if found is None or episode.outcome is None or not wanted.admits(episode, found):
            continue
        culprit = found.culprit
        culprits[culprit.agent] += 1
        why = found.chain if found.artifact else f"{found.chain} ({culprit.reason})"
        cells = (episode.id, episode.task_id, culprit.agent, str(culprit.turn + 1), why)
        table.add_row(*map(line, cells))
    if not total:
        raise ConfigError(f"{run.path} has no episodes")
    for name, values in seen.items():
        if getattr(wanted, name) not in (None, *values):
            known = ", ".join(map(str, sorted(one for one in values if one is not None)[:20]))
            which = "failed episode" if name == "code" else "episode"
            raise ConfigError(
                f"--{name}: no {which} has {getattr(wanted, name)!r}; there are {known or 'none'}"
            )
    _keep_whole(table, console)
    console.print(table)
    by_agent = ", ".join(f"{line(agent)} {count}" for agent, count in culprits.most_common())
    console.print(
        f"{culprits.total()} of {total} episodes; by culprit: {by_agent or 'none'}",
        highlight=False,
        soft_wrap=True,
    )


def _codes(episode: RecordedEpisode) -> set[str]:
    """Returns the codes of the outcome and of the artifacts that were left broken."""
    assert episode.outcome is not None
    return {episode.outcome.failure_code, *(one.code for one in broken(episode.turns))}


def _keep_whole(table: Table, console: Console) -> None:
    """Keeps all columns but the last on one line, so that ids can be found and copied, if nothing is cut off
    by that."""
    for column in table.columns[:-1]:
        column.no_wrap = True
    needed = console.measure(table, options=console.options.update(width=_UNLIMITED)).minimum
    for column in table.columns[:-1]:
        column.no_wrap = needed <= console.width


def print_episode(runs: Sequence[Run], identity: str, console: Console, skipped: list[str] | None) -> None:
    """Prints the episode ``identity`` of the first run that has it.

    Raises:
        ConfigError: no run has it.
    """
    for run in runs:
        for _, episode in episodes_of(run, skipped=skipped):
            if episode.id == identity:
                tokens = of_episode(run.tokens, episode.step, episode.id) if run.tokens else {}
                for text, style in _episode(episode, tokens):
                    console.print(Text(text, style), highlight=False, soft_wrap=True)
                return
    paths = ", ".join(str(run.path) for run in runs)
    raise ConfigError(f"{paths}: there is no episode {identity!r}; --failed lists those that failed")


def printable(text: str) -> str:
    """Returns a recorded text as a terminal would show it, without anything that acts on the terminal or
    reorders the line, and long ones without their middle."""
    shown = as_terminal(text)
    if len(shown) > 2 * MOST:
        shown = f"{shown[:MOST]}\n[… {len(shown) - 2 * MOST} characters …]\n{shown[-MOST:]}"
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in shown)


def line(text: str) -> str:
    """Returns one recorded text, ``printable``, on one line: nobody's name begins a line of its own."""
    return " ".join(printable(text).split())


def _episode(episode: RecordedEpisode, tokens: Mapping[int, Row]) -> Iterator[tuple[str, str]]:
    """Yields texts and their styles; ``tokens``: by turn, where they are recorded."""
    found = diagnose(episode.turns, episode.outcome)
    names = [line(name) for name in (episode.id, episode.task_id, episode.kind or "no kind", episode.phase)]
    yield "{}: {} ({}), {} {}".format(*names, episode.step), "bold"
    if episode.outcome is None:
        yield "no outcome is recorded", ""
    elif found is None:
        yield f"success, score {episode.outcome.score:.3f}", "green"
    else:
        culprit = found.culprit
        yield f"failed: {line(episode.outcome.failure_code)}; {line(found.chain)}", "red"
        yield f"culprit: {line(culprit.agent)}, turn {culprit.turn + 1}: {line(culprit.reason)}", "red"
    for one in handoffs(episode.turns):
        route = f"{_writer(episode.turns, one.writer)} → turn {one.reader + 1}"
        yield f"handed over: {line(one.artifact)} {line(one.code)}, {route}", ""
    for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
        yield from _turn(turn, verdict, found)
        if tokens.get(turn.index, {}).get("text"):
            yield _likelihood(tokens[turn.index]), "dim"


def _writer(turns: Sequence[Turn], writer: int | None) -> str:
    return "nobody" if writer is None else f"turn {writer + 1} ({line(turns[writer].agent)})"


def _turn(turn: Turn, verdict: Verdict | None, found: Diagnosis | None) -> Iterator[tuple[str, str]]:
    guilty = found is not None and found.culprit.turn == turn.index
    mark = "  ← explains the failure" if guilty else ""
    yield f"\n── {turn.index + 1}. {line(turn.agent)}{mark}", "bold red" if guilty else "bold"
    yield printable(turn.action).strip() or "(empty)", ""
    if turn.result is not None:
        took = f"{turn.result.wall_s:.2f} s" if turn.result.wall_s else "time unknown"
        yield f"ended in {turn.result.status}, {took}", "dim"
        yield from (
            (printable(text).rstrip(), "dim") for text in (turn.result.stdout, turn.result.stderr) if text
        )
    codes = checks.codes(turn)
    for check in turn.checks:
        code = codes.get(check.name, check.code)
        state = f"{line(check.name)}: {line(code)} {line(check.detail)}".rstrip()
        yield state, "green" if code == "ok" else "red"
    if verdict is not None:
        blame = f" [blames {line(verdict.blame)}]" if verdict.blame else ""
        said = f"({line(verdict.source)}): {line(verdict.rationale)}{blame}"
        yield f"{verdict.score:.1f} of 10 {said}", "cyan"


def _likelihood(row: Row) -> str:
    """Says how likely the tokens of an action were, and names the three that were least so."""
    logprobs, texts = row["logprob"], row["text"]
    least = sorted(range(len(texts)), key=lambda place: logprobs[place])[:3]
    named = (texts[place] or row["names"].get(str(place), "") for place in least)
    shown = (f"{line(name)!r} {exp(logprobs[place]):.1%}" for name, place in zip(named, least, strict=True))
    return (
        f"{len(texts)} tokens, mean log-probability {fmean(logprobs):.2f}; least likely: {', '.join(shown)}"
    )

"""The report on the terminal: failed episodes as lines, and one episode in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from coaches.evidence import checks
from conf import ConfigError
from conf.tables import make_table
from envs.episode.terminal import as_terminal
from envs.types import Turn
from learners.report.handoffs import Diagnosis, broken, diagnose, handoffs
from learners.report.reading import Run, episodes_of


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
        codes = {one.code for one in broken(episode.turns)}
        assert episode.outcome is not None
        codes.add(episode.outcome.failure_code)
        return (
            self.agent in (None, found.culprit.agent)
            and (self.code is None or self.code in codes)
            and self.task in (None, episode.task_id)
            and self.step in (None, episode.step)
        )


def list_failed(run: Run, wanted: Wanted, console: Console, skipped: list[str] | None) -> None:
    """Prints a line for every failed episode that is wanted, and how many each agent broke.

    Raises:
        ConfigError: an episode is invalid (see ``coaches.episodes.read``).
    """
    table = make_table(
        f"Failed episodes of {run.name}",
        ["episode", "task", "culprit", "turn", "what broke first, and what followed"],
        text=["episode", "task", "culprit", "what broke first, and what followed"],
    )
    for column in table.columns[:-1]:
        column.no_wrap = True  # so that ids can be found and copied
    total, culprits = 0, Counter[str]()
    for _, episode in episodes_of(run, skipped=skipped):
        total += 1
        found = diagnose(episode.turns, episode.outcome)
        if found is None or episode.outcome is None or not wanted.admits(episode, found):
            continue
        culprit = found.culprit
        culprits[culprit.agent] += 1
        turn = str(culprit.turn + 1)
        table.add_row(episode.id, episode.task_id, culprit.agent, turn, found.chain or culprit.reason)
    console.print(table)
    by_agent = ", ".join(f"{agent} {count}" for agent, count in culprits.most_common())
    console.print(
        f"{culprits.total()} of {total} episodes; by culprit: {by_agent or 'none'}",
        highlight=False,
        soft_wrap=True,
    )


def print_episode(runs: Sequence[Run], identity: str, console: Console, skipped: list[str] | None) -> None:
    """Prints the episode ``identity`` of the first run that has it.

    Raises:
        ConfigError: no run has it.
    """
    for run in runs:
        for _, episode in episodes_of(run, skipped=skipped):
            if episode.id == identity:
                for line in _episode(episode):
                    console.print(line, highlight=False, soft_wrap=True)
                return
    names = ", ".join(str(run.path) for run in runs)
    raise ConfigError(f"{names}: there is no episode {identity!r}; --failed lists those that failed")


def _episode(episode: RecordedEpisode) -> Iterator[Text]:
    found = diagnose(episode.turns, episode.outcome)
    yield Text(
        f"{episode.id}: {episode.task_id} ({episode.kind or 'no kind'}), {episode.phase} {episode.step}",
        "bold",
    )
    if episode.outcome is None:
        yield Text("no outcome is recorded")
    elif found is None:
        yield Text(f"success, score {episode.outcome.score:.3f}", "green")
    else:
        yield Text(f"failed: {episode.outcome.failure_code}; {found.chain}", "red")
        yield Text(
            f"culprit: {found.culprit.agent}, turn {found.culprit.turn + 1}: {found.culprit.reason}", "red"
        )
    for one in handoffs(episode.turns):
        state = f"{one.artifact} {one.code}"
        yield Text(f"handed over: {state}, {_writer(episode.turns, one.writer)} → turn {one.reader + 1}")
    for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
        yield from _turn(turn, verdict, found)


def _writer(turns: Sequence[Turn], writer: int | None) -> str:
    return "nobody" if writer is None else f"turn {writer + 1} ({turns[writer].agent})"


def _turn(turn: Turn, verdict: Verdict | None, found: Diagnosis | None) -> Iterator[Text]:
    guilty = found is not None and found.culprit.turn == turn.index
    mark = "  ← explains the failure" if guilty else ""
    yield Text(f"\n── {turn.index + 1}. {turn.agent}{mark}", "bold red" if guilty else "bold")
    yield Text(as_terminal(turn.action).strip() or "(empty)")
    if turn.result is not None:
        yield Text(f"ended in {turn.result.status}, {turn.result.wall_s:.2f} s", "dim")
        yield from (
            Text(as_terminal(text).rstrip(), "dim")
            for text in (turn.result.stdout, turn.result.stderr)
            if text
        )
    codes = checks.codes(turn)
    for check in turn.checks:
        code = codes.get(check.name, check.code)
        yield Text(f"{check.name}: {code} {check.detail}".rstrip(), "green" if code == "ok" else "red")
    if verdict is not None:
        blame = f" [blames {verdict.blame}]" if verdict.blame else ""
        yield Text(
            f"{verdict.score:.1f} of 10 ({verdict.source}): {as_terminal(verdict.rationale)}{blame}", "cyan"
        )

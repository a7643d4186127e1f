"""Scores recorded turns with any coach: diagnosis without training.

    python -m coaches.score episodes.jsonl coach=rules
    python -m coaches.score runs/x coach=rules coach.ran=3 --out scored.jsonl
    python -m coaches.score old.jsonl coach=hindsight env=dsbench

The episodes come from a run, by its folder or its file, or from any other system (``coaches.episodes``
describes the format); ``env=`` supplies the roles of one of our environments to lines that have none. Every
line is written out unchanged except that each turn gets the coach's ``verdict``, or null if there is none. A
table then shows, for each agent, how many turns were judged, their mean score with its 95 % interval over
episodes, and in how many episodes it was blamed. ``--skip-bad`` leaves out lines that cannot be read or
judged, and counts them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy import stats  # type: ignore[import-untyped]

import conf
from coaches import episodes
from coaches.base import AnyCoach, BudgetError, Verdict, judges_turns
from coaches.episodes import RecordedEpisode
from coaches.judging.inner import build_coach, check_ready
from coaches.judging.verdicts import judge_episode
from conf import ConfigError
from conf.arguments import Parser, add_out, integer, require_new
from conf.counts import plural
from conf.tables import interval, make_console, make_table

_NO_OUTCOME = "episode {} has no outcome, and this coach judges whole episodes"


@dataclass(frozen=True)
class Scored:
    """An episode with a coach's verdicts, and the causes where there are none."""

    episode: RecordedEpisode
    verdicts: tuple[Verdict | None, ...]
    causes: tuple[str, ...]
    messages: Mapping[str, str]
    """Cause -> the first message that came with it."""


def score(coach: AnyCoach, episode: RecordedEpisode) -> Scored:
    """Returns the coach's verdicts on a recorded episode.

    Raises:
        ConfigError: the coach judges whole episodes and this one has no outcome.
    """
    if not _judgeable(coach, episode):
        raise ConfigError(_NO_OUTCOME.format(episode.id))
    judged = judge_episode(coach, episode.turns, episode.outcome)
    masked = [one for one in judged if one.cause]
    return Scored(
        episode,
        verdicts=tuple(one.verdict for one in judged),
        causes=tuple(one.cause for one in masked),
        messages={one.cause: one.message for one in reversed(masked)},
    )


def tabulate(scored: Sequence[Scored], title: str) -> Table:
    """Returns a table with one row per agent, in order."""
    table = make_table(title, ["agent", "turns", "judged", "mean\nscore", "95 %", "blamed\nin", "cost, $"])
    agents = dict.fromkeys(turn.agent for one in scored for turn in one.episode.turns)
    blamed = Counter(
        agent for one in scored for agent in {v.blame for v in one.verdicts if v is not None and v.blame}
    )
    for agent in agents:
        own = [
            [v for turn, v in zip(one.episode.turns, one.verdicts, strict=True) if turn.agent == agent]
            for one in scored
        ]
        scores = [[v.score for v in verdicts if v is not None] for verdicts in own]
        mean, low, high = mean_of(scores)
        table.add_row(
            agent,
            str(sum(map(len, own))),
            str(sum(map(len, scores))),
            f"{mean:.2f}",
            interval(low, high, ".2f", least=0.0, most=10.0),
            f"{blamed[agent]}/{len(scored)}",
            f"{sum(v.cost for verdicts in own for v in verdicts if v is not None):.4f}",
        )
    return table


def mean_of(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Returns (mean, low, high): the mean of all values and its 95 % interval over groups (episodes).

    Values of one group are treated as dependent. The interval is Student's t for a ratio of sums over groups;
    it is NaN for fewer than two groups. It is not limited to the range of the values, as what is shown is.
    """
    sizes = np.array([len(group) for group in groups if group], np.float64)
    sums = np.array([sum(group) for group in groups if group], np.float64)
    if len(sizes) == 0:
        return nan, nan, nan
    mean, number = float(sums.sum() / sizes.sum()), len(sizes)
    if number == 1:
        return mean, nan, nan
    variance = number / (number - 1) * float(((sums - mean * sizes) ** 2).sum()) / float(sizes.sum()) ** 2
    reach = float(stats.t.ppf(0.975, number - 1)) * sqrt(variance)
    return mean, mean - reach, mean + reach


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    from conf import commands

    parser = Parser("python -m coaches.score", __doc__)
    parser.add_argument("episodes", type=Path, help="a run folder, or a file of episodes")
    commands.add_overrides(parser, "coach=<name> coach.<key>=<value> env=<name>")
    add_out(parser, help="default: <episodes>.scored.jsonl beside it")
    parser.add_argument("--threads", type=integer(1), default=8, help="episodes scored at once")
    parser.add_argument("--skip-bad", action="store_true", help="leave out invalid lines, and count them")
    options = parser.parse_intermixed_args(arguments)
    with commands.one_line_errors(BudgetError, OSError):
        parts = {"coach": commands.REQUIRED, "env": None}
        _run(options, commands.compose_parts(options.overrides, parts, config_dir=options.config_dir))


def _run(options: argparse.Namespace, config: Any) -> None:
    roles = conf.build("envs", config.env).roles if "env" in config else None
    coach = build_coach(config.coach)
    path = episodes.file_of(options.episodes)
    pairs, skipped = episodes.read_all([path], roles=roles, skip_bad=options.skip_bad)
    if options.skip_bad:
        skipped += [_NO_OUTCOME.format(one.id) for _, one in pairs if not _judgeable(coach, one)]
        pairs = [(row, one) for row, one in pairs if _judgeable(coach, one)]
    if not pairs:
        raise ConfigError(f"{path} has no episodes{episodes.first_of(skipped)}")
    out = options.out or path.with_suffix(".scored.jsonl")
    if out.exists() and out.samefile(path):
        raise ConfigError("--out is the file that is read")
    require_new(options.overwrite, out)
    check_ready(coach)
    scored = []
    with (
        ThreadPoolExecutor(options.threads, "score") as pool,
        out.open("w", encoding="utf-8") as file,
    ):
        results = pool.map(lambda pair: score(coach, pair[1]), pairs)
        for (row, _), one in zip(pairs, results, strict=True):
            scored.append(one)
            file.write(json.dumps(_with_verdicts(row, one), ensure_ascii=False) + "\n")
    console = make_console()
    console.print(
        tabulate(
            scored,
            f"{config.coach.name} on {plural(len(scored), 'episode')} of {options.episodes.resolve().name}",
        )
    )
    masked = Counter(cause for one in scored for cause in one.causes)
    if masked:
        messages = {cause: text for one in reversed(scored) for cause, text in one.messages.items()}
        for cause, count in masked.items():
            example = f"; the first: {messages[cause]}" if messages[cause] else ""
            console.print(
                f"without a verdict: {count} {cause}{example}", highlight=False, markup=False, soft_wrap=True
            )
    if skipped:
        line = f"skipped: {plural(len(skipped), 'line')}{episodes.first_of(skipped)}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"written: {out}", soft_wrap=True, highlight=False)


def _judgeable(coach: AnyCoach, episode: RecordedEpisode) -> bool:
    return episode.outcome is not None or judges_turns(coach)


def _with_verdicts(row: dict[str, Any], scored: Scored) -> dict[str, Any]:
    turns = [
        {**turn, "verdict": None if verdict is None else asdict(verdict)}
        for turn, verdict in zip(row["turns"], scored.verdicts, strict=True)
    ]
    return {**row, "turns": turns}


if __name__ == "__main__":
    main()

"""Scores recorded turns with any coach: diagnosis without training.

    python -m coaches.score episodes.jsonl coach=rules
    python -m coaches.score runs/x coach=rules coach.ran=3 --out scored.jsonl
    python -m coaches.score old.jsonl coach=hindsight env=dsbench
    python -m coaches.score traces.jsonl coach=rules --otlp scored-traces.jsonl

The episodes come from a run, by its folder or its file, or from any other system: in our own format
(``coaches.episodes`` describes it) or one of ``coaches.traces``, which ``format=`` names where the content
does not tell; ``env=`` supplies the roles of one of our environments to episodes that have none. Every
episode is written as a line of our format, unchanged except that each turn gets the coach's ``verdict``, or
null if there is none. A table then shows, for each agent, how many turns were judged, their mean score with
its 95 % interval over episodes, and in how many episodes it was blamed. ``--otlp`` writes a trace of
OpenTelemetry again, with the verdicts as evaluation events of the spans that are turns. ``--skip-bad`` leaves
out what cannot be read or judged, and counts it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from coaches.base import AnyCoach, BudgetError, Verdict, check_agents, judges_turns
from coaches.episodes import RecordedEpisode
from coaches.judging.inner import build_coach, check_ready
from coaches.judging.verdicts import judge_episode
from coaches.recording import compressed
from coaches.traces import files, formats
from coaches.traces import scored as traces
from conf import ConfigError
from conf.arguments import Parser, add_out, integer, require_apart, require_new
from conf.counts import plural
from conf.tables import interval, make_console, make_table
from envs.types import Role

_FORMAT = "format="
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
    parser.add_argument("episodes", type=Path, help="a run folder, or a file or folder of episodes")
    commands.add_overrides(parser, "coach=<name> coach.<key>=<value> env=<name> format=<name>")
    add_out(parser, help="default: <episodes>.scored.jsonl beside it")
    parser.add_argument(
        "--otlp", type=Path, metavar="FILE", help="write an OpenTelemetry trace with verdicts"
    )
    parser.add_argument("--threads", type=integer(1), default=8, help="episodes scored at once")
    parser.add_argument("--skip-bad", action="store_true", help="leave out invalid lines, and count them")
    options = parser.parse_intermixed_args(arguments)
    with commands.one_line_errors(BudgetError, OSError):
        named = [word for word in options.overrides if word.startswith(_FORMAT)]
        words = [word for word in options.overrides if word not in named]
        parts = {"coach": commands.REQUIRED, "env": None}
        config = commands.compose_parts(words, parts, config_dir=options.config_dir)
        name = named[-1].removeprefix(_FORMAT) if named else None
        _run(options, config, formats.chosen(options.episodes, name))


def _run(options: argparse.Namespace, config: Any, format: str) -> None:
    roles = conf.build("envs", config.env).roles if "env" in config else None
    coach = build_coach(config.coach)
    path = episodes.file_of(options.episodes) if format == formats.OWN else options.episodes
    pairs, skipped = _read(path, format, coach, roles, options.skip_bad)
    check_agents(coach, dict.fromkeys(turn.agent for _, one in pairs for turn in one.turns))
    out = options.out or _beside(path)
    require_apart({"--out": out, "--otlp": options.otlp}, files.of(path))
    require_new(options.overwrite, out)
    if options.otlp is not None:
        _check_otlp(options, format)
    check_ready(coach)
    scored = []
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        ThreadPoolExecutor(options.threads, "score") as pool,
        out.open("w", encoding="utf-8") as file,
    ):
        results = pool.map(lambda pair: score(coach, pair[1]), pairs)
        for (row, _), one in zip(pairs, results, strict=True):
            scored.append(one)
            file.write(json.dumps(_with_verdicts(row, one), ensure_ascii=False) + "\n")
    if options.otlp is not None:
        judged = zip([row for row, _ in pairs], [one.verdicts for one in scored], strict=True)
        traces.write(path, options.otlp, judged)
    console = make_console()
    for line in formats.told(format, [row for row, _ in pairs]):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(
        tabulate(
            scored,
            f"{config.coach.name} on {plural(len(scored), 'episode')} of {options.episodes.resolve().name}",
        )
    )
    what = "line" if format == formats.OWN else "record"
    written = [f"written: {one}" for one in (out, options.otlp) if one is not None]
    for line in (*_unjudged(scored), *_left_out(skipped, what), *written):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _check_otlp(options: argparse.Namespace, format: str) -> None:
    if format != "otlp":
        raise ConfigError(f"--otlp is for traces of OpenTelemetry; this one is read as format={format}")
    require_new(options.overwrite, options.otlp, option="--otlp")


def _read(
    path: Path, format: str, coach: AnyCoach, roles: Sequence[Role] | None, skip_bad: bool
) -> tuple[list[formats.Pair], list[str]]:
    """Returns the episodes that the coach can judge, and why others were left out."""
    pairs, skipped = formats.read_all(path, format, roles=roles, skip_bad=skip_bad)
    if skip_bad:
        skipped += [_NO_OUTCOME.format(one.id) for _, one in pairs if not _judgeable(coach, one)]
        pairs = [(row, one) for row, one in pairs if _judgeable(coach, one)]
    if not pairs:
        raise ConfigError(f"{path} has no episodes{episodes.first_of(skipped)}")
    return pairs, skipped


def _beside(path: Path) -> Path:
    """Returns where the scores of ``path`` go: ``a.scored.jsonl`` for ``a.jsonl`` and for a folder ``a``."""
    if path.is_dir():
        path = path.resolve()  # the folder may be called "."
        return path.with_name(f"{path.name}.scored.jsonl")
    return path.with_name(f"{compressed.stem(path)}.scored.jsonl")


def _unjudged(scored: Sequence[Scored]) -> Iterator[str]:
    messages = {cause: text for one in reversed(scored) for cause, text in one.messages.items()}
    for cause, count in Counter(cause for one in scored for cause in one.causes).items():
        example = f"; the first: {messages[cause]}" if messages[cause] else ""
        yield f"without a verdict: {count} {cause}{example}"


def _left_out(skipped: Sequence[str], what: str) -> Iterator[str]:
    if skipped:
        yield f"skipped: {plural(len(skipped), what)}{episodes.first_of(skipped)}"


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

"""Compares coaches on Who&When: which agent failed, and at which step?

    python -m benchmarks.attribution who_and_when=PATH coach=rules,hindsight
    python -m benchmarks.attribution who_and_when=PATH a=llm b=llm b.sees=answer a.endpoint.model=<name> ...

PATH is a copy of the data (github.com/ag2ai/Agents_Failure_Attribution), or a part of it: 184 failed runs of
other people's agent teams, labelled by hand (arXiv 2505.00212). The turn to which a coach gives its lowest
score is its suspect. Coaches stand beside constants, which read nothing. Settings of a coach follow its name,
as for ``benchmarks.coaches``; a coach is shown the true answer if its own setting says so, and the table
tells. Prints a table for each part of the data, and writes JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.attribution import measures, runs
from benchmarks.attribution.constants import TOP, constants
from benchmarks.attribution.measures import Row
from benchmarks.attribution.runs import Run
from benchmarks.common.coaches import nodes
from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.estimates import Estimate
from coaches.base import BudgetError
from coaches.judging.inner import build_coach, check_ready
from conf import ConfigError, commands
from conf.arguments import add_out, integer, require_new
from conf.counts import plural
from conf.tables import make_console, make_table

_PATH = f"{runs.FORMAT}="


def measure(
    parts: Mapping[str, Sequence[Run]], coaches: Mapping[str, Mapping[str, Any]], threads: int
) -> dict[str, list[Row]]:
    """Returns part -> rows of the constants and then of the coaches.

    Raises:
        ConfigError: a coach cannot be built, or cannot judge such episodes.
        BudgetError: a coach has exceeded its budget.
    """
    built = {name: build_coach(node) for name, node in coaches.items()}
    for coach in built.values():
        check_ready(coach)
    return {
        part: [
            *(measures.constant(name, guesser, own) for name, guesser in constants(own).items()),
            *(measures.judged(name, coach, own, threads) for name, coach in built.items()),
        ]
        for part, own in parts.items()
    }


def tables(found: Mapping[str, Sequence[Row]]) -> Iterator[Table]:
    """Yields a table for each part."""
    for part, rows in found.items():
        title = f"{part}, {plural(rows[0].agent.n, 'run')}; %"
        table = make_table(
            title, ["", "agent", "step", f"step in top {TOP}", "answer", "$ / run", "ms / run"]
        )
        for row in rows:
            cells = [_percent(one) for one in (row.agent, row.step, row.top)]
            table.add_row(
                row.name, *cells, "seen" if row.answer else "", f"{row.cost:.4f}", f"{1000 * row.seconds:.3g}"
            )
        yield table


def _percent(estimate: Estimate) -> str:
    value, low, high = (100 * one for one in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} [{low:.0f}, {high:.0f}]"


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. User errors print one line to stderr and exit with code 2."""
    parser = make_parser("attribution", __doc__)
    commands.add_overrides(parser, "who_and_when=PATH, coach=<name>,<name>, and <name>.<key>=<value>")
    parser.add_argument("--limit", type=integer(1), help="number of runs of each part; default: all")
    parser.add_argument("--threads", type=integer(1), default=1, help="runs judged at once")
    parser.add_argument("--skip-bad", action="store_true", help="leave out invalid runs, and count them")
    add_out(parser, default=Path("attribution.json"), help="file to write")
    options = parser.parse_intermixed_args(arguments)
    named = [word.removeprefix(_PATH) for word in options.overrides if word.startswith(_PATH)]
    if len(named) != 1:
        raise ConfigError("name the data once: who_and_when=PATH")
    words = [word for word in options.overrides if not word.startswith(_PATH)]
    with commands.one_line_errors(BudgetError):
        coaches = nodes(words, config_dir=options.config_dir)
        require_new(options.overwrite, options.out)
        labelled, skipped, digest = runs.read(Path(named[0]), skip_bad=options.skip_bad)
        parts = runs.parts(labelled, options.limit)
        found = measure(parts, coaches, options.threads)
    console = make_console()
    for table in tables(found):
        console.print(table)
    for line in (*_unjudged(found), *_left_out(skipped)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    rows = {part: [asdict(row) for row in own] for part, own in found.items()}
    data = {
        "sha256": digest,
        "runs": {part: len(own) for part, own in parts.items()},
        "skipped": len(skipped),
    }
    write_json(options.out, {"data": data, "coaches": coaches, "parts": rows})
    print_path(console, options.out)
    return 0


def _unjudged(found: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    for part, rows in found.items():
        for row in rows:
            for cause, count in row.causes.items():
                first = f"; the first: {message}" if (message := row.messages.get(cause)) else ""
                yield f"{row.name} on {part}, turns without a verdict: {count} {cause}{first}"


def _left_out(skipped: Sequence[str]) -> Iterator[str]:
    if skipped:
        yield f"skipped: {plural(len(skipped), 'run')}; the first: {skipped[0]}"


if __name__ == "__main__":
    sys.exit(main())

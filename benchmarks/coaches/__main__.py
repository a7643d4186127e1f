"""Compares coaches: which one blames the right agent, at what cost, and with what bias?

    python -m benchmarks.coaches coach=rules,outcome,random,length,hindsight
    python -m benchmarks.coaches coach=rules,llm llm.endpoint.model=<name>
    python -m benchmarks.coaches coach=rules,my.coach my.coach.each=2.5 --part heldout
    python -m benchmarks.coaches a=llm b=llm a.endpoint.model=<name> b.endpoint.model=<other>

Every coach judges the same recorded episodes (``benchmarks.corpus``): sound ones, and ones with one planted
fault each, whose culprit is known. Settings of a coach follow its name, which ``name=coach`` chooses; a coach
of your own takes part by its dotted module name. Prints the leaderboard and writes it as JSON and as HTML.
Intervals are 95 % intervals of the bootstrap over tasks. The page and ``benchmarks.coaches.measures`` explain
each column.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.coaches import judging, measures, report
from benchmarks.coaches.report import Report
from benchmarks.common.coaches import nodes
from benchmarks.common.command import make_parser, print_path
from benchmarks.corpus import cases as corpus
from benchmarks.corpus.cases import Case
from coaches.base import BudgetError
from coaches.judging.inner import build_coach, check_ready
from conf import ConfigError, commands
from conf.arguments import add_out, integer, require_new
from conf.tables import make_console


def chosen(cases: Sequence[Case], limit: int | None) -> list[Case]:
    """Returns ``limit`` faulty cases, of as many kinds as possible, with their sound twins; None: all
    cases."""
    if limit is None:
        return list(cases)
    faulty = judging.sample_kinds([case for case in cases if case.label is not None], limit)
    kept = {case.episode.id for case in faulty} | {case.twin for case in faulty}
    return [case for case in cases if case.episode.id in kept]


def run(
    coaches: Mapping[str, Mapping[str, Any]],
    cases: Sequence[Case],
    part: str,
    *,
    retest: bool = True,
    attacked: int = 4,
    threads: int = 8,
) -> Report:
    """Judges ``cases`` with every coach.

    Raises:
        ConfigError: there is nothing to judge, or a coach cannot be built.
        BudgetError: a coach has exceeded its budget.
    """
    if not cases:
        raise ConfigError(f"the corpus {part} has no episodes")
    for node in coaches.values():
        check_ready(build_coach(node))  # reports a mistake before the first coach costs money
    rows = []
    for name, node in coaches.items():
        judgement = judging.judge(node, cases, retest=retest, attacked=attacked, threads=threads)
        rows.append(measures.measure(name, judgement))
    agent, turn = measures.chance(cases)
    kinds = {case.label.kind: case.edition for case in cases if case.label is not None}
    return Report(_facts(cases, part), agent, turn, dict(coaches), kinds, report.ranked(rows))


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. User errors print one line to stderr and exit with code 2."""
    parser = make_parser("coaches", __doc__)
    commands.add_overrides(parser, "coach=<name>,<name>, or <name>=<coach>, and <name>.<key>=<value>")
    parser.add_argument("--part", default="public", help="public, heldout, or a file with episodes")
    parser.add_argument(
        "--limit", type=integer(1), help="number of faulty episodes, besides their sound twins; default: all"
    )
    parser.add_argument("--no-retest", action="store_true", help="judge every turn only once")
    parser.add_argument(
        "--attacked", type=integer(0), default=4, help="number of faulty turns on which every attack is tried"
    )
    parser.add_argument("--kinds", action="store_true", help="also print the table by kind of fault")
    parser.add_argument("--threads", type=integer(1), default=8, help="episodes judged at once")
    add_out(parser, default=Path("coach-benchmark"), help="folder to write to")
    options = parser.parse_intermixed_args(arguments)
    with commands.one_line_errors(BudgetError):
        coaches = nodes(options.overrides, config_dir=options.config_dir)
        require_new(options.overwrite, *report.paths(options.out))
        cases = chosen(_cases(options.part), options.limit)
        result = run(
            coaches,
            cases,
            options.part,
            retest=not options.no_retest,
            attacked=options.attacked,
            threads=options.threads,
        )
    console = make_console()
    for table in report.tables(result):
        console.print(table)
    if options.kinds:
        console.print(report.by_kind(result))
    for row in result.rows:
        for cause, count in row.causes.items():
            first = f"; the first: {message}" if (message := row.messages.get(cause)) else ""
            line = f"{row.coach}, turns without a verdict: {count} {cause}{first}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    for path in report.write(result, options.out):
        print_path(console, path)
    if not options.kinds:
        console.print("the kinds of fault, one by one: in the page, or printed with --kinds", soft_wrap=True)
    return 0


def _cases(part: str) -> Sequence[Case]:
    return corpus.read(part) if part in corpus.SPLITS else corpus.read_file(Path(part))


def _facts(cases: Sequence[Case], part: str) -> dict[str, Any]:
    labels = [case.label for case in cases if case.label is not None]
    rows = [
        json.dumps([case.episode.id, asdict(case.episode)], sort_keys=True, default=str) for case in cases
    ]
    return {
        "part": part,
        "episodes": len(cases),
        "faulty": len(labels),
        "tasks": len({case.episode.task_id for case in cases}),
        "kinds of fault": len({label.kind for label in labels}),
        "sha256": hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16],
    }


if __name__ == "__main__":
    sys.exit(main())

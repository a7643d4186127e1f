"""Measures what running a snippet costs: in our sandboxes, Docker, plain processes, a bare fork server and
public sandboxes.

    python -m benchmarks.sandbox                                  # about 15 minutes on two cores
    python -m benchmarks.sandbox --methods docker "docker exec" "fork server"
    python -m benchmarks.sandbox --quick                          # one minute: checks that it works

All methods run in one process and alternate: in each round every method runs every program, each round
beginning with another method, so that other work on the machine affects all of them alike. In its turn a fast
method makes a few runs and a slow one makes one. Latency is the time that the caller waits for one program in
an open sandbox; the output of each run is checked. Ratios are ratios of medians, with the quartiles of the
ratios of single rounds.

The headline program imports pandas and scikit-learn and fits a line. Our sandboxes and the fork servers have
preloaded the imports of the data science environment; any other import costs its usual time. A fork server
isolates nothing, limits nothing and cleans nothing up: it is the lower bound. There are two of them, because
the image's Python may be faster than the one that runs this: compare like with like. Docker's command line
gets the restrictions of our containers. The public sandboxes get their fastest way to run a complete program
(not a notebook cell) without a server in the image; llm-sandbox gets our image. Install them with ``pip
install '.[bench]'``, or name another Python that has them with ``--peers-python``. Their times are measured
in their own process.

Throughput is measured with the headline program and one sandbox for each program in flight. The wait for a
sandbox is measured on the docker backend, with a pool of as many sandboxes as there are episodes in flight,
twice: with episodes so long that the pool's starter is busy for the stated share of the time (the duty), and
with episodes too short for it to keep up. An episode sleeps between its programs, as it would while a model
generates; a model on the same cores would slow all of this down.

Results are printed and written, with the machine, as JSON to ``--out``. Missed targets are reported.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import machine
from benchmarks.common.spread import Ratio, Spread, flat, ratio
from benchmarks.common.targets import to_records
from benchmarks.sandbox.lanes import MethodError
from benchmarks.sandbox.measures import (
    FULL,
    OVERLOAD,
    QUICK,
    Lanes,
    Plan,
    PoolWait,
    latencies,
    pool_wait,
    throughputs,
)
from benchmarks.sandbox.methods import Method, available
from benchmarks.sandbox.report import Report, Row, tables, targets
from benchmarks.sandbox.workloads import SNIPPET, WORKLOADS
from conf import commands
from conf.arguments import add_out, integer, require_new
from conf.tables import make_console


def measure(names: Sequence[str], peers_python: str, plan: Plan, console: Console) -> Report:
    """Runs the whole comparison of the named methods.

    Raises:
        MethodError: none can start here, or one that started failed later.
    """
    here = machine()
    methods, skipped = _start(names, peers_python, console)
    try:
        rows, ratios, start_s = _measure(methods, plan, console)
    finally:
        for method in methods:
            method.close()
    pool = _pool(plan, start_s, console) if start_s is not None else []
    return Report(
        here,
        plan,
        {workload.name: workload.code for workload in WORKLOADS},
        rows,
        skipped,
        ratios,
        pool,
        targets(rows, ratios, pool, plan),
    )


def _start(names: Sequence[str], peers_python: str, console: Console) -> tuple[list[Method], dict[str, str]]:
    """Returns the methods that can start here, and for the others why they cannot."""
    methods, skipped, known = [], {}, available(peers_python)
    for name in names:
        try:
            methods.append(known[name]())
        except MethodError as error:
            skipped[name] = str(error)
            console.print(f"left out: {name}: {error}", soft_wrap=True, markup=False)
    if not methods:
        raise MethodError("no method can start here")
    return methods, skipped


def _measure(
    methods: Sequence[Method], plan: Plan, console: Console
) -> tuple[list[Row], dict[str, dict[str, Ratio]], float | None]:
    """Returns the rows, the ratios, and the seconds of a docker sandbox's cold start (None without
    docker)."""
    console.print(f"opening {max(plan.levels)} sandboxes of each of {len(methods)} methods", markup=False)
    lanes = Lanes.open(methods, max(plan.levels))
    try:
        console.print(f"latency: {plan.rounds} rounds of {len(WORKLOADS)} programs")
        times = latencies(methods, lanes, WORKLOADS, plan)
        console.print(f"throughput: {plan.windows} windows at each of {plan.levels} in flight", markup=False)
        rates = throughputs(methods, lanes, plan)
    finally:
        lanes.close()
    rows = [
        Row(
            method.name,
            method.kind,
            method.note,
            method.guarantees,
            method.versions,
            {name: Spread.of([1e3 * s for s in flat(rounds)]) for name, rounds in times[method.name].items()},
            {str(level): Spread.of(values) for level, values in rates[method.name].items()},
            Spread.of(starts) if (starts := lanes.starts[method.name]) else None,
            starts[0] if starts else None,
        )
        for method in methods
    ]
    headline = {name: by_workload[SNIPPET.name] for name, by_workload in times.items()}
    peers = [method.name for method in methods if method.kind == "peer"]
    ratios = {
        method.name: {peer: ratio(headline[method.name], headline[peer]) for peer in peers}
        for method in methods
        if method.kind == "ours"
    }
    cold = lanes.starts.get("docker")
    return rows, ratios, statistics.median(cold) if cold else None


def _pool(plan: Plan, start_s: float, console: Console) -> list[PoolWait]:
    waits = []
    for size in plan.pools:
        for duty in (plan.duty, OVERLOAD):
            console.print(f"pool of {size}, starter needed {100 * duty:.0f} % of the time")
            waits.append(pool_wait(size, start_s, duty, plan.takes))
    return waits


def show(report: Report, console: Console) -> None:
    """Prints the tables and the targets, met or missed."""
    for table in tables(report):
        console.print(table)
    for row in report.rows:
        guarantees = f"; guarantees {', '.join(row.guarantees)}" if row.guarantees else ""
        console.print(f"{row.name}: {row.note}{guarantees}", soft_wrap=True, markup=False)
    for name, reason in report.skipped.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True, markup=False)
    for target in report.targets:
        console.print(target.line(), soft_wrap=True, markup=False)


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = make_parser("sandbox", __doc__)
    known = list(available(sys.executable))
    parser.add_argument(
        "--methods", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known)
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions; the numbers mean little")
    parser.add_argument("--rounds", type=integer(1), help=f"rounds of latency; default: {FULL.rounds}")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="a Python that has the public sandboxes"
    )
    add_out(parser, default=Path("benchmarks/results/sandbox.json"))
    given = parser.parse_args(arguments)
    require_new(given.overwrite, given.out)
    plan = QUICK if given.quick else FULL
    plan = replace(plan, rounds=given.rounds or plan.rounds)
    console = make_console()
    try:
        report = measure(given.methods, given.peers_python, plan, console)
    except MethodError as error:
        console.print(f"no result: {error}", soft_wrap=True, markup=False)
        return 1
    show(report, console)
    write_json(given.out, asdict(report) | {"targets": to_records(report.targets)})
    print_path(console, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

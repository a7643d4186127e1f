"""What does a snippet cost? Our sandboxes beside Docker, a plain process, a bare fork server and public ones.

    python -m benchmarks.sandbox                                  # about 15 minutes on two cores
    python -m benchmarks.sandbox --methods docker "docker exec" "fork server"
    python -m benchmarks.sandbox --quick                          # a minute: that it works, not how fast

All in one run, and in turns: in each round every method runs every program, beginning with another method
each time, so that what else the machine does hits all alike. A fast method makes a few runs a turn, a slow
one makes one. Latency is what the caller waits for one program in a sandbox that is open; each answer is
checked. Ratios are those of the medians, with the quartiles of the rounds' own ratios.

The headline program imports pandas and scikit-learn and fits a line. Our sandboxes and the fork servers have
preloaded what the data science environment asks for; a program that imports anything else pays for it. A fork
server isolates nothing, bounds nothing and cleans nothing up: it is the least that can be had. There are two,
as the image's Python may be faster than the one that runs this: compare like with like. Docker's command line
gets the restrictions of our containers. The public sandboxes get their fastest way to run a program of its
own, not a cell of a notebook, that needs no server in the image, and llm-sandbox our image; ``pip install
'.[bench]'``, or ``--peers-python`` names another Python that has them. Their times are taken in their own
process.

Throughput is of the headline program, with one sandbox for each one in flight. The wait for a sandbox is
measured on the docker backend, with a pool as large as the episodes in flight, twice: with episodes so long
that its starter is busy for the stated part of the time (the duty), and with ones too short for it to keep
up. An episode sleeps between its programs, as it would while a model writes; a model on the same cores
would slow all of this down.

Results go to the terminal and, with the machine, as JSON to ``--out``. A target that is missed says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from benchmarks.common.machine import machine
from benchmarks.common.spread import Ratio, Spread, flat, ratio
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


def measure(names: Sequence[str], peers_python: str, plan: Plan, console: Console) -> Report:
    """Runs the whole comparison of the named methods.

    Raises ``MethodError`` when none can start, or one that could fails later.
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
    """The methods that can start here, and why the others cannot."""
    methods, skipped, known = [], {}, available(peers_python)
    for name in names:
        try:
            methods.append(known[name]())
        except MethodError as error:
            skipped[name] = str(error)
            console.print(f"left out: {name}: {error}", soft_wrap=True, markup=False)
    if not methods:
        raise MethodError("nothing can be measured here")
    return methods, skipped


def _measure(
    methods: Sequence[Method], plan: Plan, console: Console
) -> tuple[list[Row], dict[str, dict[str, Ratio]], float | None]:
    """The rows, the ratios, and the seconds of a docker sandbox's cold start where there is one."""
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
    headline = {name: found[SNIPPET.name] for name, found in times.items()}
    peers = [method.name for method in methods if method.kind == "peer"]
    ratios = {
        method.name: {peer: ratio(headline[method.name], headline[peer]) for peer in peers}
        for method in methods
        if method.kind == "ours"
    }
    cold = lanes.starts.get("docker")
    return rows, ratios, statistics.median(cold) if cold else None


def _pool(plan: Plan, start_s: float, console: Console) -> list[PoolWait]:
    found = []
    for size in plan.pools:
        for duty in (plan.duty, OVERLOAD):
            console.print(f"pool of {size}, starter wanted {100 * duty:.0f} % of the time")
            found.append(pool_wait(size, start_s, duty, plan.takes))
    return found


def show(report: Report, console: Console) -> None:
    """Prints the tables and, met or missed, every target."""
    for table in tables(report):
        console.print(table)
    for row in report.rows:
        held = f"; holds {', '.join(row.guarantees)}" if row.guarantees else ""
        console.print(f"{row.name}: {row.note}{held}", soft_wrap=True, markup=False)
    for name, reason in report.skipped.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True, markup=False)
    for target in report.targets:
        console.print(target.line(), soft_wrap=True, markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = list(available(sys.executable))
    parser.add_argument(
        "--methods", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known)
    )
    parser.add_argument("--quick", action="store_true", help="few repeats; the numbers mean little")
    parser.add_argument("--rounds", type=int, help=f"of latency, instead of {FULL.rounds}")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="a Python that has the public sandboxes"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sandbox.json"))
    given = parser.parse_args(arguments)
    plan = QUICK if given.quick else FULL
    plan = replace(plan, rounds=given.rounds or plan.rounds)
    console = Console(width=120)
    try:
        report = measure(given.methods, given.peers_python, plan, console)
    except MethodError as error:
        console.print(f"no result: {error}", soft_wrap=True, markup=False)
        return 1
    show(report, console)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    record = asdict(report)
    for target, row in zip(report.targets, record["targets"], strict=True):
        row["met"] = target.met
    given.out.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(f"written: {given.out}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures what the environments cost by themselves: steps a second, and memory for many of them at once.

    python -m benchmarks.envs
    python -m benchmarks.envs --rounds 2 --seconds 0.2 --counts 1 10

The sandbox runs nothing, and agents answer at once. Beside our environments, two of PettingZoo's classic ones
play random legal moves (they need pygame: pip install pygame). All are measured in every round, one after the
other, in seconds of CPU time; a step is an action of an agent that is not terminated. Memory: environments
that share one backend, each before the last action of its episode.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import Machine, machine
from benchmarks.common.spread import Spread, ratio, rotations
from benchmarks.common.targets import Target, to_records
from benchmarks.envs.memory import Memory
from benchmarks.envs.memory import measure as measure_memory
from benchmarks.envs.subjects import OURS, PEERS, NoSandbox, Subject, episode, ours, peer
from conf import commands
from conf.arguments import add_out, integer, number, require_new
from conf.tables import make_console, make_table

SAME_ORDER = 0.32
"""Two rates are of one order of magnitude if the smaller is at least 10 ** -0.5 of the larger."""
MOST_KB = 200.0


@dataclass(frozen=True)
class Speed:
    """Steps a second of one environment, by round."""

    name: str
    steps: Spread


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    speeds: Sequence[Speed]
    memory: Sequence[Memory]
    targets: Sequence[Target]


def rate(subject: Subject, seconds: float) -> float:
    """Returns steps a second of CPU time. Plays whole episodes for at least ``seconds``."""
    env, steps = subject.make(), 0
    for _ in episode(env, subject.act):  # what is loaded once
        pass
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in episode(env, subject.act):
            steps += 1
    env.close()
    return steps / spent


def measure(peers: Sequence[str], counts: Sequence[int], rounds: int, seconds: float) -> Report:
    """Measures everything. Raises ``ConfigError`` if a peer cannot be imported."""
    about, backend = machine(), NoSandbox()
    subjects = [*(ours(name, backend) for name in OURS), *map(peer, peers)]
    rates: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for turn in rotations(subjects, rounds):
        for subject in turn:
            rates[subject.name].append(rate(subject, seconds))
    speeds = [Speed(name, Spread.of(found)) for name, found in rates.items()]
    memory = [row for name in OURS for row in measure_memory(name, counts)]
    return Report(about, speeds, memory, _targets(rates, memory))


def _targets(rates: dict[str, list[float]], memory: Sequence[Memory]) -> list[Target]:
    first = PEERS[0]
    found = (
        ratio([[value] for value in rates["mathchat"]], [[value] for value in rates[first]]).median
        if first in rates
        else None
    )
    targets = [Target(f"steps a second: mathchat / {first}", found, SAME_ORDER, at_least=True)]
    for name in OURS:
        last = max((row for row in memory if row.name == name), key=lambda row: row.count)
        targets.append(Target(f"kB of one more {name} at {last.count}", last.further_kb, MOST_KB))
    return targets


def show(report: Report, console: Console) -> None:
    """Prints the tables and the targets."""
    table = make_table(
        "Steps a second (CPU time)", ["environment", "median", "quartiles"], text=["environment"]
    )
    for speed in report.speeds:
        steps = speed.steps
        table.add_row(speed.name, f"{steps.median:.0f}", f"{steps.low:.0f} to {steps.high:.0f}")
    console.print(table)
    table = make_table(
        "Memory of environments at once",
        ["environment", "count", "kB each", "kB of a further one"],
        text=["environment"],
    )
    for row in report.memory:
        table.add_row(row.name, str(row.count), f"{row.each_kb:.0f}", f"{row.further_kb:.0f}")
    console.print(table)
    for target in report.targets:
        console.print(target.line(), highlight=False)


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = make_parser("envs", __doc__)
    parser.add_argument("--rounds", type=integer(1), default=7)
    parser.add_argument("--seconds", type=number(0.01), default=0.5, help="for each environment and round")
    parser.add_argument("--counts", type=integer(1), nargs="+", default=[1, 10, 100, 1000], metavar="N")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="PettingZoo's environments")
    add_out(parser, default=Path("benchmarks/results/envs.json"))
    given = parser.parse_args(arguments)
    require_new(given.overwrite, given.out)
    report = measure(given.peers, sorted(set(given.counts)), given.rounds, given.seconds)
    console = make_console()
    show(report, console)
    write_json(given.out, asdict(report) | {"targets": to_records(report.targets)})
    print_path(console, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures whether the coach costs time: episodes per hour, beside a perfect schedule and a blocking coach.

    python -m benchmarks.rollout
    python -m benchmarks.rollout --in-flight 64 --coach 2.0 --rounds 1
    python -m benchmarks.rollout play --help        # measures a step's play with everything real

Plays episodes through the real environment, coach wrapper and runtime. Model, tools and coach only sleep, for
log-normal times that are drawn once, so that every mode has the same work. In mode ``deferred`` the coach
judges while the episode goes on; ``in step``: every action waits for its verdict; ``one by one``: one verdict
at a time over all episodes; ``nobody``: no coach. All modes with a coach must give the same verdicts and
returns; otherwise the exit code is 1. A new episode begins as soon as one of those in flight has ended.
Model, tools and coach serve any number of requests at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import Machine, machine
from benchmarks.common.spread import Spread
from benchmarks.rollout import play
from benchmarks.rollout.latencies import Latencies, Medians
from benchmarks.rollout.simulated import AGENTS, TURNS, Coach, Model, Relay, ReturnsRecorder, Tool
from conf import commands
from conf.arguments import add_out, integer, number, require_new
from conf.tables import make_console, make_table
from envs.pipeline import PipelineEnv
from envs.types import Task
from learners.policy import Policy
from learners.rollout import episode
from learners.runtimes.local import Local
from learners.types import Assignment, Rollout

MODES = ("nobody", "deferred", "in step", "one by one")


@dataclass(frozen=True)
class Row:
    """One mode with one number of episodes in flight."""

    mode: str
    in_flight: int
    seconds: Spread
    """Until all episodes have ended, by round."""
    per_hour: float
    """Episodes per hour, from the median of ``seconds``."""
    over_bound: Spread
    """``seconds`` over those of a perfect schedule: with a coach, or without one for ``nobody``."""
    floor: float
    """Lower bound of this mode's seconds."""


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    medians: Medians
    sigma: float
    rows: Sequence[Row]
    same: bool
    """Whether all modes gave the same verdicts and returns."""


@dataclass(frozen=True)
class Played:
    """The result of one mode."""

    seconds: float
    judgements: Any
    """Verdicts and returns of all episodes; None without a coach."""


def run(mode: str, latencies: Latencies, in_flight: int) -> Played:
    """Plays all episodes, ``in_flight`` at once.

    Raises:
        Exception: the first exception that an episode raised.
    """
    number = len(latencies.model)
    model = Model(latencies)
    models = {agent: Policy(agent, model) for agent in AGENTS}
    coach = Coach(latencies, one_by_one=mode == "one by one")

    def one(order: int) -> tuple[Rollout, dict[str, float]]:
        env = PipelineEnv(Relay(), Tool())
        wrapped = None if mode == "nobody" else ReturnsRecorder(env, coach, deferred=mode == "deferred")
        assignment = Assignment(str(order), Task(str(order), "## Task: wait", "relay", None), 0, order, 1.0)
        rollout = episode.play(wrapped or env, models, assignment)
        return rollout, wrapped.returns if wrapped else {}

    start = time.perf_counter()
    results = Local(Local.Config(None)).map(one, range(number), limit=in_flight, groups=None)
    seconds = time.perf_counter() - start
    judgements = []
    for result in results:
        if isinstance(result, Exception):
            raise result
        judgements.append(
            (result[0].verdicts, {agent: round(value, 9) for agent, value in result[1].items()})
        )
    return Played(seconds, None if mode == "nobody" else judgements)


def measure(
    in_flight: Sequence[int], each: int, medians: Medians, sigma: float, rounds: int, seed: int
) -> Report:
    """Runs every mode in every round. ``each``: episodes for each one in flight."""
    rows, same = [], True
    for count in in_flight:
        latencies = Latencies.draw(each * count, TURNS, medians, sigma, seed)
        times: dict[str, list[float]] = {mode: [] for mode in MODES}
        for _ in range(rounds):
            played = {mode: run(mode, latencies, count) for mode in MODES}
            judged = [played[mode].judgements for mode in MODES if mode != "nobody"]
            same &= all(judgements == judged[0] for judgements in judged)
            for mode in MODES:
                times[mode].append(played[mode].seconds)
        rows += [_row(mode, count, times[mode], latencies) for mode in MODES]
    return Report(machine(), medians, sigma, rows, same)


def _row(mode: str, count: int, seconds: Sequence[float], latencies: Latencies) -> Row:
    floors = {
        "nobody": latencies.played(count),
        "deferred": latencies.bound(count),
        "in step": latencies.blocking(count),
        "one by one": latencies.one_by_one(count),
    }
    bound = latencies.played(count) if mode == "nobody" else latencies.bound(count)
    spread = Spread.of(seconds)
    over = Spread.of([value / bound for value in seconds])
    per_hour = 3600.0 * len(latencies.model) / spread.median
    return Row(mode, count, spread, per_hour, over, floors[mode])


def show(report: Report, console: Console) -> None:
    """Prints the table, and whether all modes gave the same verdicts and returns."""
    medians = report.medians
    table = make_table(
        f"Medians: model {medians.model:g} s, tool {medians.tool:g} s, coach {medians.coach:g} s",
        ["in flight", "coach", "s", "at best", "episodes/h", "× the perfect schedule", "gain"],
        text=["coach"],
    )
    slow = {row.in_flight: row.per_hour for row in report.rows if row.mode == "one by one"}
    for row in report.rows:
        over = row.over_bound
        table.add_row(
            str(row.in_flight),
            row.mode,
            f"{row.seconds.median:.2f}",
            f"{row.floor:.2f}",
            f"{row.per_hour:.0f}",
            f"{over.median:.3f} ({over.low:.3f} to {over.high:.3f})",
            f"{row.per_hour / slow[row.in_flight]:.1f}×",
            end_section=row.mode == MODES[-1],
        )
    console.print(table)
    console.print(f"verdicts and returns of all modes: {'the same' if report.same else 'DIFFERENT'}")


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["play"]:
        return play.main(words[1:])
    parser = make_parser("rollout", __doc__)
    parser.add_argument("--in-flight", type=integer(1), nargs="+", default=[8, 32], metavar="N")
    parser.add_argument("--each", type=integer(1), default=1, help="episodes for each one in flight")
    parser.add_argument("--model", type=number(0), default=0.2, help="median seconds of an action")
    parser.add_argument("--tool", type=number(0), default=0.05, help="median seconds of a program")
    parser.add_argument("--coach", type=number(0), default=0.2, help="median seconds of a verdict")
    parser.add_argument(
        "--sigma", type=number(0), default=0.5, help="standard deviation of the logarithm of all times"
    )
    parser.add_argument("--rounds", type=integer(1), default=3)
    parser.add_argument("--seed", type=integer(0), default=0)
    add_out(parser, default=Path("benchmarks/results/rollout.json"))
    given = parser.parse_args(words)
    require_new(given.overwrite, given.out)
    medians = Medians(given.model, given.tool, given.coach)
    report = measure(given.in_flight, given.each, medians, given.sigma, given.rounds, given.seed)
    console = make_console()
    show(report, console)
    write_json(given.out, asdict(report))
    print_path(console, given.out)
    return 0 if report.same else 1


if __name__ == "__main__":
    sys.exit(main())

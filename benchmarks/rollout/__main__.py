"""Does the coach cost time? Episodes an hour against a perfect schedule, and against a coach that blocks.

    python -m benchmarks.rollout
    python -m benchmarks.rollout --in-flight 64 --coach 2.0 --rounds 1

Plays episodes through the real environment, coach wrapper and runtime; model, tools and coach only sleep, for
log-normal times that are drawn once, so that every mode has the same to do. ``deferred`` judges while the
episode goes on; ``in step`` makes every action wait for its verdict; ``one by one`` lets one verdict be
reached at a time over all episodes; ``nobody`` does not judge. Every verdict and every return must be the
same in all modes that judge: else the exit code is 1. An episode begins as soon as one of those in flight has
ended, on a model, tools and a coach that serve as many requests as come.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common.machine import Machine, machine
from benchmarks.common.spread import Spread
from benchmarks.rollout.latencies import Latencies, Medians
from benchmarks.rollout.simulated import AGENTS, TURNS, Coach, Model, Paid, Relay, Tool
from envs.pipeline import PipelineEnv
from envs.types import Task
from learners.rollout.episode import Assignment, Rollout, play
from learners.runtimes.local import Local

MODES = ("nobody", "deferred", "in step", "one by one")


@dataclass(frozen=True)
class Row:
    """One mode with one number of episodes in flight."""

    mode: str
    in_flight: int
    seconds: Spread
    """Until all episodes are over, by round."""
    per_hour: float
    """Episodes, by the median."""
    over_bound: Spread
    """Seconds over those of a perfect schedule that judges (that does not, for ``nobody``)."""
    floor: float
    """Seconds that this mode could take at best."""


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
    """What a mode did with all the episodes."""

    seconds: float
    said: Any
    """Verdicts and returns; None where nobody judged."""


def run(mode: str, latencies: Latencies, in_flight: int) -> Played:
    """Plays all episodes, ``in_flight`` at once.

    Raises:
        Exception: what an episode raised.
    """
    number = len(latencies.model)
    models = {agent: Model(agent, latencies) for agent in AGENTS}
    coach = Coach(latencies, one_by_one=mode == "one by one")

    def one(order: int) -> tuple[Rollout, dict[str, float]]:
        env = PipelineEnv(Relay(), Tool())
        wrapped = None if mode == "nobody" else Paid(env, coach, deferred=mode == "deferred")
        assignment = Assignment(str(order), Task(str(order), "## Task: wait", "relay", None), 0, order, 1.0)
        rollout = play(wrapped or env, models, assignment)
        return rollout, wrapped.returns if wrapped else {}

    start = time.perf_counter()
    found = Local(Local.Config(None)).map(one, range(number), limit=in_flight, waves=False)
    seconds = time.perf_counter() - start
    said = []
    for result in found:
        if isinstance(result, Exception):
            raise result
        said.append((result[0].verdicts, {agent: round(paid, 9) for agent, paid in result[1].items()}))
    return Played(seconds, None if mode == "nobody" else said)


def measure(
    in_flight: Sequence[int], each: int, medians: Medians, sigma: float, rounds: int, seed: int
) -> Report:
    """Every mode in every round, in turn; ``each``: episodes for every one in flight."""
    rows, same = [], True
    for number in in_flight:
        latencies = Latencies.draw(each * number, TURNS, medians, sigma, seed)
        times: dict[str, list[float]] = {mode: [] for mode in MODES}
        for _ in range(rounds):
            played = {mode: run(mode, latencies, number) for mode in MODES}
            said = [played[mode].said for mode in MODES if mode != "nobody"]
            same &= all(one == said[0] for one in said)
            for mode in MODES:
                times[mode].append(played[mode].seconds)
        rows += [_row(mode, number, times[mode], latencies) for mode in MODES]
    return Report(machine(), medians, sigma, rows, same)


def _row(mode: str, number: int, seconds: Sequence[float], latencies: Latencies) -> Row:
    floors = {
        "nobody": latencies.played(number),
        "deferred": latencies.bound(number),
        "in step": latencies.blocking(number),
        "one by one": latencies.one_by_one(number),
    }
    bound = latencies.played(number) if mode == "nobody" else latencies.bound(number)
    spread = Spread.of(seconds)
    over = Spread.of([each / bound for each in seconds])
    per_hour = 3600.0 * len(latencies.model) / spread.median
    return Row(mode, number, spread, per_hour, over, floors[mode])


def show(report: Report, console: Console) -> None:
    """Prints the table and whether verdicts and returns were the same."""
    medians = report.medians
    table = Table(
        title=f"Medians: model {medians.model:g} s, tool {medians.tool:g} s, coach {medians.coach:g} s",
        title_justify="left",
    )
    for name in ("in flight", "coach", "s", "at best", "episodes/h", "× the perfect schedule", "gain"):
        table.add_column(name, justify="left" if name == "coach" else "right")
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--in-flight", type=int, nargs="+", default=[8, 32], metavar="N")
    parser.add_argument("--each", type=int, default=1, help="episodes for every one in flight")
    parser.add_argument("--model", type=float, default=0.2, help="median seconds of an action")
    parser.add_argument("--tool", type=float, default=0.05, help="median seconds of a program")
    parser.add_argument("--coach", type=float, default=0.2, help="median seconds of a verdict")
    parser.add_argument("--sigma", type=float, default=0.5, help="spread of the logarithms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/rollout.json"))
    given = parser.parse_args(arguments)
    medians = Medians(given.model, given.tool, given.coach)
    report = measure(given.in_flight, given.each, medians, given.sigma, given.rounds, given.seed)
    console = Console(width=120)
    show(report, console)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {given.out}", soft_wrap=True)
    return 0 if report.same else 1


if __name__ == "__main__":
    sys.exit(main())

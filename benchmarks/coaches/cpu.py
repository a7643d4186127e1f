"""How much CPU time does a coach take for an episode, with that of the sandboxes that it starts?

    python -m benchmarks.coaches.cpu coach=audit --part heldout --out cpu.json

Every episode is judged once first, which starts what later ones find started and runs the programs of the
record, as the files of a run would be there. Then come ``--rounds`` measured rounds, one episode at a time.
CPU time, unlike wall time, is the same on a busy machine; it is that of this process and of all below it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common.coaches import nodes
from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import machine
from benchmarks.common.spread import Spread
from benchmarks.corpus import cases as corpus
from benchmarks.corpus.cases import Case
from coaches.base import AnyCoach
from coaches.judging.inner import build_coach
from coaches.judging.verdicts import judge_episode
from conf import commands
from conf.arguments import add_out, integer, require_new
from conf.tables import make_console

_SETTLE = 0.2
_TICK = float(os.sysconf("SC_CLK_TCK"))


def cpu_s() -> float:
    """Returns the CPU seconds so far of this process and of all processes below it, ended ones included."""
    own, reaped = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = own.ru_utime + own.ru_stime + reaped.ru_utime + reaped.ru_stime
    return ours + sum(sum(map(int, fields[11:15])) for fields in _descendants()) / _TICK


def _descendants() -> list[list[str]]:
    """Returns the fields of ``/proc/<pid>/stat`` after the name, of every process below this one."""
    found: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
    below, ours = {os.getpid()}, list[int]()
    while below:
        below = {pid for pid, fields in found.items() if int(fields[1]) in below}
        ours += below
    return [found[pid] for pid in ours]


def _settled() -> float:
    """Returns ``cpu_s`` once sandboxes that were closed have ended: that of a process counts then."""
    time.sleep(_SETTLE)
    return cpu_s()


def measure(coach: AnyCoach, cases: Sequence[Case], rounds: int) -> list[float]:
    """Returns CPU milliseconds for each case: the mean of ``rounds``."""
    for case in cases[:1]:
        judge_episode(coach, case.episode.turns, case.episode.outcome)
    found = []
    for case in cases:
        judge_episode(coach, case.episode.turns, case.episode.outcome)
        before = _settled()
        for _ in range(rounds):
            judge_episode(coach, case.episode.turns, case.episode.outcome)
        found.append(1000.0 * (_settled() - before) / rounds)
    return found


def report(coaches: Mapping[str, Any], cases: Sequence[Case], rounds: int) -> dict[str, dict[str, Any]]:
    """Returns for each coach its milliseconds for each environment, and for all of them."""
    rows: dict[str, dict[str, Any]] = {}
    for name, node in coaches.items():
        taken = measure(build_coach(node), cases, rounds)
        envs = {"all": taken} | {
            env: [ms for ms, case in zip(taken, cases, strict=True) if case.env == env]
            for env in dict.fromkeys(case.env for case in cases)
        }
        rows[name] = {env: asdict(Spread.of(values)) for env, values in envs.items()}
    return rows


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. User errors print one line to stderr and exit with code 2."""
    parser = make_parser("coaches.cpu", __doc__)
    commands.add_overrides(parser, "coach=<name>,<name>, or <name>=<coach>, and <name>.<key>=<value>")
    parser.add_argument("--part", default="public", help="public or heldout")
    parser.add_argument("--every", type=integer(1), default=1, help="take every n-th episode")
    parser.add_argument("--rounds", type=integer(1), default=3, help="measured verdicts of each episode")
    add_out(parser, default=Path("cpu.json"), help="file to write to")
    options = parser.parse_intermixed_args(arguments)
    coaches = nodes(options.overrides, config_dir=options.config_dir)
    require_new(options.overwrite, options.out)
    cases = corpus.read(options.part)[:: options.every]
    rows = report(coaches, cases, options.rounds)
    console = make_console()
    for name, envs in rows.items():
        for env, spread in envs.items():
            text = f"median {spread['median']:.0f} ms, 90th percentile {spread['p90']:.0f} ms"
            console.print(f"{name}, {env}: {text} of CPU an episode, of {spread['n']}", highlight=False)
    facts = {"part": options.part, "rounds": options.rounds, "machine": asdict(machine())}
    write_json(options.out, {**facts, "coaches": rows})
    print_path(console, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

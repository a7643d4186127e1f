"""Measures what a step's play costs: real sandboxes, artifact checks and verdicts, in one or two checkouts.

    python -m benchmarks.rollout play                                    # actions are replayed
    python -m benchmarks.rollout play --before ../older                  # beside another checkout
    python -m benchmarks.rollout play --sample --before ../older         # actions are sampled from the model
    python -m benchmarks.rollout play --episodes runs/dsbench/mine env=dsbench seed=1

Settings are those of the learner, and so is everything that runs: episodes in flight, sandboxes, checks, the
coach and the records, from the first request for an action to the last line of ``episodes.jsonl``; what a run
reports as ``play_s``. Nothing is trained.

Replayed actions are those of a recorded run (``--episodes``), or programs as the untrained teaching policy
writes them. All requests of a batch then wait for ``--token-ms`` times the tokens of its longest action, and
use no CPU. With ``--sample`` the run's model samples all actions, with its initial weights.

The checkout of ``--before`` plays the same steps in processes of its own: one of each in every round, each
round beginning with the other. The first episodes of a process are not measured. CPU time is that of the
process and of all that it started. Idle is the share of the cores' time that nothing could use, because fewer
episodes and batches than cores did not wait for others. Ratios are of this checkout over the other, with the
quartiles of the ratios of single rounds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common.child import ChildError, ask
from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import Machine, machine
from benchmarks.common.spread import Ratio, Spread, ratio, rotations
from benchmarks.rollout import child
from benchmarks.rollout.actions import Episode, drawn, recorded
from conf import ConfigError, commands
from conf.arguments import add_out, integer, number, require_new
from conf.tables import make_console, make_table
from learners.config import RunConfig

HERE = Path(__file__).parents[2]
REPLAYED = ("model=toy", "env.style=compact")
"""Settings where no model samples: a model that is there at once, and observations as the actions' author
reads them."""
SECONDS = ("seconds", "cpu_s", "host_user_s", "host_system_s", "sandbox_user_s", "sandbox_system_s")
COUNTS = ("episodes", "turns", "programs", "succeeded", "batches")


class PlayError(Exception):
    """A process that plays failed; the message is the last line of its stderr."""


@dataclass(frozen=True)
class Row:
    """One checkout."""

    name: str
    seconds: Spread
    """Of a step's play."""
    cpu_s: Spread
    host_user_s: Spread
    host_system_s: Spread
    sandbox_user_s: Spread
    sandbox_system_s: Spread
    idle: Spread
    """Share of the cores' time that nothing could use: fewer episodes and batches than cores did not wait."""
    sampling: Spread
    """Share of the time in which a batch was sampled."""
    foreign: Spread
    """Share of the machine's CPU time that other processes used."""
    counts: dict[str, float]
    """Means per step: episodes, turns, programs, successes, batches."""
    calls: dict[str, float]
    """Mean calls of sandboxes per step, by method; ``run`` has programs and, where they are run like
    programs, probes of artifacts."""
    checks: dict[str, int]
    """How often each code of a check was given, in all steps of a round."""


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    settings: Sequence[str]
    steps: int
    actions: str
    token_ms: float
    rows: Sequence[Row]
    ratios: dict[str, Ratio]
    """Of seconds and of CPU seconds, this checkout over the other; empty without one."""
    same: bool | None
    """Whether both played the same turns, with the same results of checks; None without another checkout."""


@dataclass(frozen=True)
class Job:
    """What every process plays."""

    settings: Sequence[str]
    steps: int
    episodes: Sequence[Sequence[Episode]] | None
    """By step; None: they are sampled."""
    token_s: float


Step = dict[str, Any]


def played(tree: Path, job: Job) -> list[Step]:
    """Plays the job in a new process with the packages of ``tree``. Returns what it measured of each step.

    Raises:
        PlayError: the process failed.
    """
    command = [sys.executable, "-P", str(child.__file__)]
    try:
        steps: list[Step] = ask(command, asdict(job) | {"tree": str(tree)}, {"PYTHONPATH": str(tree)})
    except ChildError as error:
        raise PlayError(f"{tree}: {error}") from None
    return steps


def measure(trees: dict[str, Path], job: Job, rounds: int, console: Console) -> dict[str, list[list[Step]]]:
    """Returns for each checkout what it measured, by round and step."""
    measured: dict[str, list[list[Step]]] = {name: [] for name in trees}
    for order in rotations(list(trees), rounds):
        for name in order:
            steps = played(trees[name], job)
            measured[name].append([_derived(step) for step in steps])
            shown = ", ".join(f"{step['seconds']:.1f}" for step in steps)
            cpu = ", ".join(f"{step['cpu_s']:.1f}" for step in measured[name][-1])
            console.print(f"{name}: {shown} s; CPU {cpu} s", markup=False)
    return measured


def _derived(step: Step) -> Step:
    parts = ("host_user_s", "host_system_s", "sandbox_user_s", "sandbox_system_s")
    cpu, cores = sum(step[part] for part in parts), len(os.sched_getaffinity(0))
    whole = cores * step["seconds"]
    return step | {
        "cpu_s": cpu,
        "idle": step["idle_s"] / whole,
        "sampling": step["sampling_s"] / step["seconds"],
        "foreign": max(0.0, step["machine_s"] - cpu) / whole,
    }


def to_row(name: str, rounds: Sequence[Sequence[Step]]) -> Row:
    """Returns the summary of one checkout's rounds."""
    steps = [step for measured in rounds for step in measured]
    spreads = {
        key: Spread.of([step[key] for step in steps]) for key in (*SECONDS, "idle", "sampling", "foreign")
    }
    methods = sorted({method for step in steps for method in step["sandboxes"]})
    return Row(
        name,
        **spreads,
        counts={key: sum(step[key] for step in steps) / len(steps) for key in COUNTS},
        calls={
            method: sum(step["sandboxes"].get(method, 0) for step in steps) / len(steps) for method in methods
        },
        checks=_checks(rounds[0]),
    )


def _checks(steps: Sequence[Step]) -> dict[str, int]:
    codes = sorted({code for step in steps for code, _ in step["checks"]})
    return {code: sum(dict(step["checks"]).get(code, 0) for step in steps) for code in codes}


def report(given: Any, job: Job, measured: dict[str, list[list[Step]]]) -> Report:
    """Returns the report of all rounds."""
    ratios, same = {}, None
    if "before" in measured:
        for key in ("seconds", "cpu_s"):
            now, before = (
                [[step[key] for step in steps] for steps in measured[name]] for name in ("now", "before")
            )
            ratios[key] = ratio(now, before)
        facts = [
            [step["turns"], step["programs"], step["succeeded"], step["checks"]]
            for rounds in measured.values()
            for steps in rounds
            for step in steps
        ]
        same = all(fact == facts[i % job.steps] for i, fact in enumerate(facts))
    actions = "sampled" if given.sample else str(given.episodes or "drawn")
    rows = [to_row(name, rounds) for name, rounds in measured.items()]
    return Report(machine(), job.settings, job.steps, actions, given.token_ms, rows, ratios, same)


def show(report: Report, console: Console) -> None:
    """Prints the table and the ratios."""
    table = make_table(
        f"A step's play, {report.steps} steps a round; actions: {report.actions}",
        ["checkout", "s", "CPU s", "host user", "host system", "sandboxes user", "sandboxes system", "idle",
         "sampling", "programs", "runs", "turns"],
        text=["checkout"],
    )  # fmt: skip
    for row in report.rows:
        spreads = [row.seconds, row.cpu_s, row.host_user_s, row.host_system_s, row.sandbox_user_s]
        table.add_row(
            row.name,
            *(f"{spread.median:.1f}" for spread in (*spreads, row.sandbox_system_s)),
            *(f"{100 * share.median:.0f} %" for share in (row.idle, row.sampling)),
            f"{row.counts['programs']:.0f}",
            f"{row.calls.get('run', 0):.0f}",
            f"{row.counts['turns']:.0f}",
        )
    console.print(table)
    for key, value in report.ratios.items():
        console.print(f"{key}, now / before: {value.median:.2f} ({value.low:.2f} to {value.high:.2f})")
    if report.same is not None:
        console.print(f"turns and checks of both: {'the same' if report.same else 'different'}")


@commands.one_line_errors(PlayError)
def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = make_parser("rollout play", __doc__)
    commands.add_overrides(parser, "settings of the learner, such as env=dsbench rollout.tasks=4")
    parser.add_argument("--before", type=Path, metavar="PATH", help="another checkout of this project")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--episodes", type=Path, metavar="RUN", help="run to replay: its folder, or its episodes.jsonl"
    )
    source.add_argument("--sample", action="store_true", help="sample the actions from the run's model")
    parser.add_argument("--token-ms", type=number(0), default=2.0, help="of a batch, for each replayed token")
    parser.add_argument("--steps", type=integer(1), default=2, help="measured steps in each process")
    parser.add_argument("--rounds", type=integer(1), default=3, help="processes of each checkout")
    add_out(parser, default=Path("benchmarks/results/rollout-play.json"))
    given = parser.parse_args(arguments)
    require_new(given.overwrite, given.out)
    trees = {"now": HERE} | ({"before": _tree(given.before)} if given.before else {})
    settings = [*(() if given.sample else REPLAYED), *given.overrides]
    config = RunConfig.read(commands.compose(settings))
    episodes = None
    if not given.sample:
        episodes = recorded(given.episodes, given.steps) if given.episodes else drawn(config, given.steps)
    job = Job(settings, given.steps, episodes, given.token_ms / 1e3)
    console = make_console()
    result = report(given, job, measure(trees, job, given.rounds, console))
    show(result, console)
    write_json(given.out, asdict(result))
    print_path(console, given.out)
    return 0 if result.same is not False or given.sample else 1


def _tree(path: Path) -> Path:
    """Returns the absolute path of a checkout. Raises ``ConfigError`` if it is none."""
    if not (path / "learners" / "run" / "trainer.py").is_file():
        raise ConfigError(f"--before {path}: this is no checkout of the project")
    return path.resolve()

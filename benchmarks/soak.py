"""Checks for leaks: plays thousands of short episodes and samples the host resources that they use.

    python -m benchmarks.soak sandbox=docker sandbox.starting=8   # 2000 episodes, 8 in flight
    python -m benchmarks.soak sandbox=local sandbox.mode=landlock --episodes 200

An episode opens a sandbox, writes a file, runs a program on it, lists the files, reads the program's output
file and closes the sandbox; each result is checked. About a hundred times in a run, while episodes are in
flight, it counts the run's containers, the descriptors, threads and memory of this process, its child
processes and their memory, and the work folders that these processes made among the temporary files.

The median of the last quarter of these samples is compared with that of the first quarter. The run fails
(exit code 1) if the difference exceeds ``GROWTH``, if an episode is lost, or if anything is left after
closing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import conf
from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import Machine, machine
from benchmarks.sandbox.lanes import MethodError
from benchmarks.sandbox.methods import backend
from conf import commands
from conf.arguments import add_out, integer, require_new
from conf.counts import plural
from conf.tables import make_console, make_table
from sandbox.base import Backend, SandboxError, SandboxSpec
from sandbox.guest import memory
from sandbox.guest.processes import descendants

SAMPLES = 100
_CODE = "open('out.txt', 'w').write(open('in.txt').read().upper())"


@dataclass(frozen=True)
class Usage:
    """The host resources of a run at one moment; sizes in megabytes, without memory that belongs to files."""

    containers: float
    descriptors: float
    threads: float
    host_mb: float
    children: float
    children_mb: float
    """Memory shared between processes counts in part."""
    folders: float


NAMES = tuple(field.name for field in fields(Usage))
GROWTH = Usage(2, 4, 2, 16, 2, 64, 2)
"""By how much the last quarter of a run may exceed the first."""
LEFT = Usage(0, 4, 2, float("inf"), 0, 0, 0)
"""By how much the usage after the run may exceed that before it. Threads and connections end a moment later,
and the interpreter keeps some memory, the growth of which ``GROWTH`` bounds."""


@dataclass(frozen=True)
class Soak:
    """One run. A sample is the number of episodes that had ended, and the usage then."""

    machine: Machine
    backend: str
    settings: Mapping[str, object]
    guarantees: tuple[str, ...]
    episodes: int
    in_flight: int
    seconds: float
    lost: Sequence[str]
    before: Usage
    after: Usage
    samples: Sequence[tuple[int, Usage]]

    def problems(self) -> list[str]:
        """Returns why the run failed; empty if it passed."""
        problems = [f"{len(self.lost)} episodes were lost, the first by: {self.lost[0]}"] if self.lost else []
        for name in NAMES:
            first, last = quarters(self.samples, name)
            if last - first > (bound := getattr(GROWTH, name)):
                problems.append(f"{name} grew from {first:.1f} to {last:.1f}, by more than {bound:g}")
            before, after = getattr(self.before, name), getattr(self.after, name)
            if after - before > getattr(LEFT, name):
                problems.append(f"{name}: {before:.1f} before the run, {after:.1f} after it")
        return problems


def quarters(samples: Sequence[tuple[int, Usage]], name: str) -> tuple[float, float]:
    """Returns the medians of the first and of the last quarter of the samples."""
    values = [getattr(usage, name) for _, usage in samples]
    size = max(1, len(values) // 4)
    return median(values[:size]), median(values[-size:])


def slope(samples: Sequence[tuple[int, Usage]], name: str) -> float:
    """Returns the growth per thousand episodes, by least squares; 0 for fewer than two samples."""
    if len(samples) < 2:
        return 0.0
    values = [getattr(usage, name) for _, usage in samples]
    return 1000 * float(np.polyfit([episode for episode, _ in samples], values, 1)[0])


def measure_usage(containers: bool, ours: set[int]) -> Usage:
    """Returns the current usage of this process. ``containers``: also count containers, by asking the Docker
    daemon.

    ``ours`` collects the ids of all child processes seen so far, because the name of a work folder contains
    the id of the process that made it.
    """
    children = descendants(os.getpid())
    ours |= children
    folders = (re.split("[-.]", path.name) for path in Path(tempfile.gettempdir()).glob("sandbox-*"))
    return Usage(
        _containers() if containers else 0,
        len(list(Path("/proc/self/fd").iterdir())),
        len(list(Path("/proc/self/task").iterdir())),
        memory.held(os.getpid()) / 2**20,
        len(children),
        sum(map(memory.divided, children)) / 2**20,
        sum(not ours.isdisjoint(int(part) for part in parts if part.isdecimal()) for parts in folders),
    )


def _containers() -> int:
    """Returns the number of containers, running or not, with a label that names this process as owner."""
    shown = '{{.Label "coachgym.owner"}}'
    command = ["docker", "ps", "--all", "--filter", "label=coachgym.owner", "--format", shown]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return sum(str(os.getpid()) in owner.split(":") for owner in done.stdout.split())


def episode(built: Backend) -> None:
    """Plays one episode. Raises ``SandboxError``, and ``RuntimeError`` for a wrong result."""
    box = built.open(SandboxSpec())
    try:
        box.write("in.txt", b"soak")
        result = box.run(_CODE)
        names = [file.path for file in box.list()]
        if result.status != "ok" or names != ["in.txt", "out.txt"] or box.read("out.txt") != b"SOAK":
            raise RuntimeError(f"wrong result: {result} {names}")
    finally:
        box.close()


def soak(name: str, settings: Mapping[str, object], episodes: int, in_flight: int, console: Console) -> Soak:
    """Plays all episodes and samples the usage.

    Raises:
        MethodError: the backend cannot start here.
        RuntimeError: an episode gave a wrong result.
    """
    ours: set[int] = set()
    before, started = measure_usage(False, ours), time.monotonic()
    built = backend(name, **settings)
    docker = built.name == "docker"
    samples: list[tuple[int, Usage]] = []
    lost: list[str] = []
    try:
        with ThreadPoolExecutor(in_flight) as threads:
            plays = [threads.submit(episode, built) for _ in range(episodes)]
            for ended, play in enumerate(as_completed(plays), 1):
                if isinstance(error := play.exception(), SandboxError):
                    lost.append(str(error))
                elif error:
                    threads.shutdown(cancel_futures=True)
                    raise error
                if ended % max(1, episodes // SAMPLES) == 0 and ended <= episodes - in_flight:
                    samples.append((ended, measure_usage(docker, ours)))
                if ended % max(1, episodes // 10) == 0:
                    console.print(
                        f"{plural(ended, 'episode')}, {time.monotonic() - started:.0f} s, {len(lost)} lost"
                    )
    finally:
        built.close()
    seconds = time.monotonic() - started
    time.sleep(1.0)  # threads and connections end a moment after closing
    return Soak(
        machine(), built.name, settings, tuple(sorted(built.guarantees)), episodes, in_flight, seconds, lost,
        before, measure_usage(docker, ours), samples,
    )  # fmt: skip


def tabulate(run: Soak) -> Table:
    """Returns a row for each resource."""
    title = (
        f"{run.backend}: {plural(run.episodes, 'episode')}, {run.in_flight} in flight, {run.seconds:.0f} s"
    )
    columns = ["", "before", "first quarter", "last quarter", "per 1000", "bound", "after"]
    table = make_table(title, columns)
    for name in NAMES:
        values = (getattr(run.before, name), *quarters(run.samples, name), slope(run.samples, name))
        bound, after = getattr(GROWTH, name), getattr(run.after, name)
        table.add_row(name, *(f"{value:.1f}" for value in values), f"+{bound:g}", f"{after:.1f}")
    return table


def _changed(node: Any) -> tuple[str, dict[str, Any]]:
    """Returns the sandbox's name, and those of its settings that differ from its YAML."""
    values, shipped = conf.to_dict(node), conf.load("sandbox", node.name)
    return node.name, {key: value for key, value in values.items() if value != shipped.get(key, ...)}


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = make_parser("soak", __doc__)
    commands.add_overrides(parser, "sandbox=docker or local, and sandbox.<setting>=<value>")
    parser.add_argument("--episodes", type=integer(1), default=2000)
    parser.add_argument("--in-flight", type=integer(1), default=8)
    add_out(parser, help="default: benchmarks/results/soak-<sandbox>.json")
    given = parser.parse_intermixed_args(arguments)
    if given.episodes < 2 * given.in_flight:
        parser.error("--episodes must be at least twice --in-flight")
    with commands.one_line_errors():
        chosen = commands.compose_parts(given.overrides, {"sandbox": "local"}, config_dir=given.config_dir)
        name, settings = _changed(chosen.sandbox)
        out = given.out or Path(f"benchmarks/results/soak-{name}.json")
        require_new(given.overwrite, out)
    console = make_console()
    try:
        run = soak(name, settings, given.episodes, given.in_flight, console)
    except MethodError as error:
        console.print(f"no result: {error}", soft_wrap=True, markup=False)
        return 1
    console.print(tabulate(run))
    problems = run.problems()
    console.print(
        *(problems or ["nothing grew, and nothing was left"]), sep="\n", soft_wrap=True, markup=False
    )
    slopes = {resource: slope(run.samples, resource) for resource in NAMES}
    record = {"faults": problems, "growth": asdict(GROWTH), "slopes_per_1000": slopes}
    write_json(out, asdict(run) | record)
    print_path(console, out)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Does anything grow? Plays thousands of short episodes and watches what they hold on the host.

    python -m benchmarks.soak sandbox=docker sandbox.starting=8   # 2000 episodes, 8 in flight
    python -m benchmarks.soak sandbox=local sandbox.mode=landlock --episodes 200

An episode opens a sandbox, writes a file, runs a program on it, lists, reads what the program wrote, and
closes; each answer is checked. A hundred times a run, while episodes are in flight, it counts this run's
containers, this process's descriptors, threads and memory, the processes below it with their memory, and the
work folders that those processes made among the temporary files.

What is compared is the median of the last quarter with that of the first. The run fails (exit code 1) when
the difference is beyond ``GROWTH``, when an episode is lost, or when anything is left once all is closed.
"""

from __future__ import annotations

import argparse
import json
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

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.common.machine import Machine, machine
from benchmarks.sandbox.lanes import MethodError
from benchmarks.sandbox.methods import backend
from sandbox.base import Backend, SandboxError, SandboxSpec
from sandbox.guest.processes import descendants, proportional, resident

SAMPLES = 100
_CODE = "open('out.txt', 'w').write(open('in.txt').read().upper())"


@dataclass(frozen=True)
class Held:
    """What a run holds of the host at one moment; sizes in megabytes."""

    containers: float
    descriptors: float
    threads: float
    host_mb: float
    children: float
    children_mb: float
    """What is shared between processes counts in part."""
    folders: float


NAMES = tuple(field.name for field in fields(Held))
GROWTH = Held(2, 4, 2, 16, 2, 64, 2)
"""How much more the last quarter of a run may hold than its first."""
LEFT = Held(0, 4, 2, float("inf"), 0, 0, 0)
"""How much more than before the run may be held after it: threads and connections end a moment later, and the
interpreter keeps memory for itself, whose growth the line above bounds."""


@dataclass(frozen=True)
class Soak:
    """One run: a sample is the number of episodes that had ended, and what was held."""

    machine: Machine
    backend: str
    settings: Mapping[str, object]
    guarantees: tuple[str, ...]
    episodes: int
    in_flight: int
    seconds: float
    lost: Sequence[str]
    before: Held
    after: Held
    samples: Sequence[tuple[int, Held]]

    def faults(self) -> list[str]:
        """Why the run failed; nothing if it did not."""
        found = [f"{len(self.lost)} episodes were lost, the first by: {self.lost[0]}"] if self.lost else []
        for name in NAMES:
            first, last = quarters(self.samples, name)
            if last - first > (bound := getattr(GROWTH, name)):
                found.append(f"{name} grew from {first:.1f} to {last:.1f}, by more than {bound:g}")
            before, after = getattr(self.before, name), getattr(self.after, name)
            if after - before > getattr(LEFT, name):
                found.append(f"{name}: {before:.1f} before the run, {after:.1f} after it")
        return found


def quarters(samples: Sequence[tuple[int, Held]], name: str) -> tuple[float, float]:
    """The medians of the first and of the last quarter."""
    values = [getattr(held, name) for _, held in samples]
    size = max(1, len(values) // 4)
    return median(values[:size]), median(values[-size:])


def slope(samples: Sequence[tuple[int, Held]], name: str) -> float:
    """Growth per thousand episodes, by least squares; 0 for fewer than two samples."""
    if len(samples) < 2:
        return 0.0
    values = [getattr(held, name) for _, held in samples]
    return 1000 * float(np.polyfit([episode for episode, _ in samples], values, 1)[0])


def held(containers: bool, ours: set[int]) -> Held:
    """What this process holds now. ``containers``: count those too, which asks the Docker daemon.

    ``ours``: every process that was ever seen below this one, added to here; a folder's name has its maker's.
    """
    below = descendants(os.getpid())
    ours |= below
    folders = (re.split("[-.]", path.name) for path in Path(tempfile.gettempdir()).glob("sandbox-*"))
    return Held(
        _containers() if containers else 0,
        len(list(Path("/proc/self/fd").iterdir())),
        len(list(Path("/proc/self/task").iterdir())),
        resident(os.getpid()) / 2**20,
        len(below),
        sum(proportional(pid, 0) for pid in below) / 2**20,
        sum(not ours.isdisjoint(int(part) for part in parts if part.isdecimal()) for parts in folders),
    )


def _containers() -> int:
    """The containers, running or not, whose label names this process as their owner."""
    shown = '{{.Label "coachgym.owner"}}'
    command = ["docker", "ps", "--all", "--filter", "label=coachgym.owner", "--format", shown]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return sum(str(os.getpid()) in owner.split(":") for owner in done.stdout.split())


def episode(built: Backend) -> None:
    """Plays one. Raises ``SandboxError``, and ``RuntimeError`` for a wrong answer."""
    box = built.open(SandboxSpec())
    try:
        box.write("in.txt", b"soak")
        result = box.run(_CODE)
        names = [file.path for file in box.list()]
        if result.status != "ok" or names != ["in.txt", "out.txt"] or box.read("out.txt") != b"SOAK":
            raise RuntimeError(f"a wrong answer: {result} {names}")
    finally:
        box.close()


def soak(name: str, settings: Mapping[str, object], episodes: int, in_flight: int, console: Console) -> Soak:
    """Runs it. Raises ``MethodError`` where the backend cannot start, ``RuntimeError`` for a wrong answer."""
    ours: set[int] = set()
    before, started = held(False, ours), time.monotonic()
    built = backend(name, **settings)
    docker = built.name == "docker"
    samples: list[tuple[int, Held]] = []
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
                    samples.append((ended, held(docker, ours)))
                if ended % max(1, episodes // 10) == 0:
                    console.print(f"{ended} episodes, {time.monotonic() - started:.0f} s, {len(lost)} lost")
    finally:
        built.close()
    seconds = time.monotonic() - started
    time.sleep(1.0)  # what ends by itself has ended
    return Soak(
        machine(), built.name, settings, tuple(sorted(built.guarantees)), episodes, in_flight, seconds, lost,
        before, held(docker, ours), samples,
    )  # fmt: skip


def tabulate(run: Soak) -> Table:
    """A row for each thing that could grow."""
    title = f"{run.backend}: {run.episodes} episodes, {run.in_flight} in flight, {run.seconds:.0f} s"
    table = Table(title=title, title_justify="left")
    for column in ("", "before", "first quarter", "last quarter", "per 1000", "bound", "after"):
        table.add_column(column, justify="right" if column else "left")
    for name in NAMES:
        values = (getattr(run.before, name), *quarters(run.samples, name), slope(run.samples, name))
        bound, after = getattr(GROWTH, name), getattr(run.after, name)
        table.add_row(name, *(f"{value:.1f}" for value in values), f"+{bound:g}", f"{after:.1f}")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", help="sandbox=docker or local, and sandbox.<setting>=<value>")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/soak-<sandbox>.json")
    given = parser.parse_args(arguments)
    if given.episodes < 2 * given.in_flight:
        parser.error("there must be twice as many episodes as are in flight, at least")
    pairs = [setting.partition("=") for setting in given.settings]
    if wrong := [key for key, _, value in pairs if not value or key.split(".")[0] != "sandbox"]:
        parser.error(f"not a setting of the sandbox: {', '.join(wrong)}")
    values = {key: yaml.safe_load(value) for key, _, value in pairs}
    name = str(values.pop("sandbox", "local"))
    settings = {key.removeprefix("sandbox."): value for key, value in values.items()}
    console = Console(width=120)
    try:
        run = soak(name, settings, given.episodes, given.in_flight, console)
    except MethodError as error:
        console.print(f"no result: {error}", soft_wrap=True, markup=False)
        return 1
    console.print(tabulate(run))
    faults = run.faults()
    console.print(*(faults or ["nothing grew, and nothing was left"]), sep="\n", soft_wrap=True, markup=False)
    out = given.out or Path(f"benchmarks/results/soak-{name}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {**asdict(run), "faults": faults, "growth": asdict(GROWTH)}
    record["slopes_per_1000"] = {name: slope(run.samples, name) for name in NAMES}
    out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {out}", soft_wrap=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

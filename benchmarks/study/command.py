"""Trains the runs of a study one after another, and writes what they say."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.common.command import print_path, write_json, write_text
from benchmarks.common.machine import machine
from benchmarks.study import grid, runs, tables
from benchmarks.study.answers import Answer, Results, answer
from benchmarks.study.plots import plot
from benchmarks.study.runs import Result, Run
from conf import ConfigError
from conf.counts import plural
from conf.revision import revision
from conf.tables import make_console


@dataclass(frozen=True)
class Study:
    """What the command line asks for."""

    asked: str
    """``small``, ``full`` or the letters of questions."""
    seeds: tuple[int, ...]
    folder: Path
    """Of the run folders and the results."""
    overrides: tuple[str, ...]
    """Settings of all runs."""
    read_only: bool
    """Train nothing: tabulate the runs that are finished."""


def main(study: Study) -> None:
    """Trains what is not finished, and tabulates, plots and writes what is. Ends with exit code 1 if runs
    failed; they do not stop the others.

    Raises:
        ConfigError: a setting is wrong, or the folder of a run was made with other settings; nothing has been
            trained then. Or no run is finished.
    """
    console = make_console()
    planned = runs.plan(study.asked, study.seeds, study.folder, study.overrides)
    failed = [] if study.read_only else train(planned, console)
    finished = [runs.read(run) for run in planned if runs.is_finished(run)]
    if not finished:
        raise ConfigError(f"{study.folder} has no finished run of this study")
    write(study, planned, finished, failed, console)
    if failed:
        names = "; ".join(run.label for run in failed)
        print(f"{len(failed)} of {plural(len(planned), 'run')} failed: {names}", file=sys.stderr)
        sys.exit(1)


def train(planned: Sequence[Run], console: Console) -> list[Run]:
    """Trains the runs that are not finished, and returns those that failed."""
    left = [run for run in planned if not runs.is_finished(run)]
    failed, start = list[Run](), time.monotonic()
    for number, run in enumerate(left):
        place = f"run {len(planned) - len(left) + number + 1} of {len(planned)}"
        todo = [plural(len(left) - number, "run") + " left"]
        if number:
            minutes = (time.monotonic() - start) / number * (len(left) - number) / 60
            todo.append(f"about {minutes:.0f} minutes")
        if failed:
            todo.append(f"{len(failed)} failed")
        console.print(f"{place}: {run.label} ({', '.join(todo)})", style="bold", highlight=False)
        if code := run.train():
            failed.append(run)
            console.print(f"failed with exit code {code}: {run.label}", style="red", highlight=False)
    return failed


def write(
    study: Study, planned: Sequence[Run], finished: Sequence[Result], failed: Sequence[Run], console: Console
) -> None:
    """Prints the tables, and writes them with everything that they are made of; earlier results are
    replaced, because all of it comes from the run folders."""
    results: Results = {
        arm: [one for one in finished if one.run.arm == arm] for arm in grid.arms(grid.questions(study.asked))
    }
    asked = grid.questions(study.asked)
    answers = [answer(question, results) for question in asked]
    for one in answers:
        console.print(f"\n({one.question.letter}) {one.question.text}", style="bold", highlight=False)
        for each in tables.tables(one):
            console.print(each.table())
    console.print(f"{len(finished)} of {plural(len(planned), 'run')} finished", highlight=False)
    write_text(study.folder / "study.md", tables.markdown(answers))
    plot(study.folder / "study.png", asked, results)
    write_json(study.folder / "study.json", report(study, answers, finished, failed))
    for name in ("study.md", "study.png", "study.json"):
        print_path(console, study.folder / name)


def report(
    study: Study, answers: Sequence[Answer], finished: Sequence[Result], failed: Sequence[Run]
) -> dict[str, object]:
    """Returns the results as JSON, with what is needed to know where they come from."""
    return {
        "machine": asdict(machine()),
        "commit": revision().short,
        "libraries": finished[0].metadata["libraries"] | {"python": finished[0].metadata["python"]},
        "asked": study.asked,
        "seeds": list(study.seeds),
        "overrides": list(study.overrides),
        "arms": {arm: list(words) for arm, words in grid.ARMS.items()},
        "runs": [
            {
                "arm": one.run.arm,
                "seed": one.run.seed,
                "commit": one.metadata.get("coachgym", {}).get("commit"),
                "curve": list(one.rows),
                "tasks": one.tasks,
            }
            for one in finished
        ],
        "failed": [run.label for run in failed],
        "answers": [asdict(one) for one in answers],
    }

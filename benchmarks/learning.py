"""Measures learning: trains with several seeds and tabulates held-out results before and after training.

    python -m benchmarks.learning                      # env=dsbench, seeds 0 1 2, and a control at lr=0
    python -m benchmarks.learning --seeds 0 1 -- coach=outcome steps=80
    python -m benchmarks.learning --study small        # three claims of the paper, in about an hour
    python -m benchmarks.learning --study              # all of them; goes on from --study small
    python -m benchmarks.learning --study i            # only the questions of these letters
    python -m benchmarks.learning --study --read       # trains nothing: tabulates the runs that are finished

Everything after ``--`` goes to the learner. Each run is a separate process; the table is read from the run
folders, a finished run is only read, and an unfinished one is resumed: the same command goes on after Ctrl-C.
Intervals are 95 % intervals: Student's t over seeds, Wilson's within a run. docs/study.md explains the tables
of the study.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.common import training
from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.estimates import student
from benchmarks.study import command as study
from benchmarks.study.command import Study
from conf import ConfigError, commands
from conf.arguments import add_out, integer, require_new
from conf.counts import plural
from conf.tables import make_console, make_table
from learners.run.metrics import wilson


@dataclass(frozen=True)
class Trained:
    """Held-out results of one finished run."""

    label: str
    before: dict[str, float]
    after: dict[str, float]
    seconds: float


def train(label: str, folder: Path, arguments: Sequence[str]) -> Trained:
    """Runs one training run, or resumes or just reads it.

    Raises:
        SystemExit: the run failed, with its exit code; its output has been printed.
    """
    if code := training.train("learners.reinforcepp", [*arguments, f"run_dir={folder}", "resume=true"]):
        sys.exit(code if code > 0 else 1)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    evaluations = [row for row in rows if row["phase"] == "eval"]
    timings = (folder / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = sum(v for line in timings for k, v in json.loads(line).items() if k.endswith("_s"))
    return Trained(label, evaluations[0], evaluations[-1], seconds)


def tabulate(runs: Sequence[Trained]) -> Table:
    """Returns a row for each run: held-out success with its interval, fair score and seconds."""
    columns = ["run", "success before", "success after", "change", "fair before", "fair after", "change", "s"]
    table = make_table("Held-out results before and after training (95 % intervals)", columns)
    for run in runs:
        table.add_row(
            run.label,
            _share(run.before),
            _share(run.after),
            f"{run.after['success'] - run.before['success']:+.3f}",
            f"{run.before['fair']:.3f}",
            f"{run.after['fair']:.3f}",
            f"{run.after['fair'] - run.before['fair']:+.3f}",
            f"{run.seconds:.0f}",
        )
    return table


def _share(row: dict[str, float]) -> str:
    count = round(row["episodes"])
    low, high = wilson(round(row["success"] * count), count)
    return f"{row['success']:.3f} [{low:.2f}, {high:.2f}]"


def _gain(runs: Sequence[Trained], name: str) -> dict[str, float]:
    gains = [run.after[name] - run.before[name] for run in runs]
    low, high = student(gains)
    return {"mean": float(np.mean(gains)), "low": low, "high": high, "least": min(gains)}


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = make_parser("learning", __doc__)
    parser.add_argument("--seeds", type=integer(0), nargs="+", default=[0, 1, 2])
    add_out(parser, help="folder for the run folders and the results: default runs/learning, or runs/study")
    parser.add_argument("--no-control", action="store_true", help="skip the run at learning rate 0")
    parser.add_argument(
        "--study",
        nargs="?",
        const="full",
        metavar="small|LETTERS",
        help="train the runs of the study instead, all or some; its results are replaced",
    )
    parser.add_argument(
        "--read", action="store_true", help="with --study: train nothing, tabulate what is there"
    )
    parser.add_argument("overrides", nargs="*", help="settings for the learner, after --")
    options = parser.parse_args(arguments)
    if options.study is not None:
        _study(options)
    else:
        _learning(options)


def _study(options: Namespace) -> None:
    if options.no_control:
        raise ConfigError("--no-control is not for --study: question (h) is about that control")
    out = options.out or Path("runs/study")
    study.main(Study(options.study, tuple(options.seeds), out, tuple(options.overrides), options.read))


def _learning(options: Namespace) -> None:
    if options.read:
        raise ConfigError("--read is for --study alone")
    out = options.out or Path("runs/learning")
    path = out / "learning.json"
    require_new(options.overwrite, path)
    runs = [
        train(f"seed {seed}", out / f"seed{seed}", [*options.overrides, f"seed={seed}"])
        for seed in options.seeds
    ]
    gains = {name: _gain(runs, name) for name in ("success", "fair")}
    control: list[Trained] = []
    if not options.no_control:
        seed = options.seeds[0]
        still = [*options.overrides, f"seed={seed}", "model.optimizer.lr=0"]
        control.append(train(f"seed {seed}, lr 0", out / f"seed{seed}-lr0", still))
    console = make_console()
    console.print(tabulate([*runs, *control]))
    for name, gain in gains.items():
        console.print(
            f"{name}: mean change {gain['mean']:+.3f} [{gain['low']:+.2f}, {gain['high']:+.2f}] over "
            f"{plural(len(runs), 'seed')}, least {gain['least']:+.3f}"
        )
    report = {"runs": [asdict(run) for run in [*runs, *control]], "gains": gains}
    write_json(path, report)
    print_path(console, path)


if __name__ == "__main__":
    main()

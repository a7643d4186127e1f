"""Evaluates a team on held-out tasks and diagnoses its failures: hosted models, local ones, or a trained run.

    python -m benchmarks.evaluate env=mathchat generator=api generator.endpoint.model=<name>
    python -m benchmarks.evaluate run=runs/dsbench/<run>                  # its newest checkpoint
    python -m benchmarks.evaluate run=runs/dsbench/<run> coach=hindsight evaluation.tasks=null
    python -m benchmarks.evaluate runs/dsbench/<one> runs/dsbench/<other> # compares two runs; plays nothing
    python -m benchmarks.evaluate runs/dsbench/<run> --before             # before and after training
    python -m benchmarks.evaluate --group rules runs/rules/* --group outcome runs/outcome/*   # several seeds

Settings are those of the learner, and each evaluation becomes an ordinary run folder. With ``coach=`` the
coach judges every action, and the table shows which agents it blames. Words without ``=`` are run folders:
their last evaluations are shown side by side and compared with the first one over the tasks that both have.
Each task has a row of its own, and for DSBench the table ends with its completion rate and score (RPG).

pass@k is the chance that one of k tries succeeds, pass^k that all do. Intervals are 95 % intervals: Wilson's
for shares of episodes; for means and differences, the bootstrap over tasks, and over the runs of a group.
A difference is tested on these tasks (McNemar's exact test), over tasks (a permutation test) and over runs (a
t test), and the last table says which difference the episodes can find.
``<folder>/evaluation.json`` contains all numbers.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.evaluate import tables
from benchmarks.evaluate.groups import read_shown
from benchmarks.evaluate.report import evaluated
from conf import ConfigError, commands
from conf.arguments import Parser, add_out, integer, number, require_new
from conf.tables import make_console
from learners.config import RunConfig
from learners.train import run_errors


def evaluate(settings: Sequence[str], *, config_dir: Path | None = None) -> list[Path]:
    """Plays the evaluation that ``settings`` describe, or one for each run in ``run=a,b``; returns run
    folders.

    Raises:
        ConfigError, SandboxError, TrainingError, BudgetError: see ``learners.run.run.train``.
    """
    return _play(prepare(settings, config_dir=config_dir))


def _play(configs: Sequence[Any]) -> list[Path]:
    from learners.run.run import train

    return [train(config) for config in configs]


def prepare(settings: Sequence[str], *, config_dir: Path | None = None) -> list[Any]:
    """Returns the configurations that ``evaluate`` plays, checked.

    Raises:
        ConfigError: one of the runs is not a run or has no checkpoint, or a setting is wrong.
    """
    from learners.run.build import check
    from learners.run.evaluation import evaluation_of, evaluation_only

    runs = [name for word in settings if word.startswith("run=") for name in word[4:].split(",")]
    words = [word for word in settings if not word.startswith("run=")]
    if any(word.startswith("coach=") for word in words):
        words.append("evaluation.coached=true")
    if runs:
        configs = [evaluation_of(Path(run), words, config_dir=config_dir) for run in runs]
    else:
        configs = [evaluation_only(commands.compose(words, config_dir=config_dir))]
    for config in configs:
        check(RunConfig.read(config))
    return configs


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Errors are reported as by the learner."""
    given = _parser().parse_intermixed_args(arguments)
    settings = [word for word in given.overrides if commands.is_override(word)]
    folders = [Path(word) for word in given.overrides if not commands.is_override(word)]
    with run_errors():
        if not settings and not folders and not given.group:
            raise ConfigError(
                "name what to play, such as env=mathchat or run=<folder>, or run folders to show"
            )
        if given.before and settings:
            raise ConfigError("--before compares evaluations of run folders: name them without settings")
        if given.out is not None:
            require_new(given.overwrite, given.out)
        # All runs are checked before the first episode is played.
        shown = read_shown(folders, given.group)
        first = read_shown(folders, given.group, first=True).groups(before=True) if given.before else []
        evaluated([*first, *shown.groups()], given.k, given.difference)
        played = _play(_prepared(settings, given)) if settings else []
        new = read_shown(played, []).single
        groups = [*first, *replace(shown, single=[*shown.single, *new]).groups()]
        results = evaluated(groups, given.k, given.difference)
        path = given.out or Path(results.evaluations[-1].folder) / "evaluation.json"
        write_json(path, results.to_json())
    console = make_console()
    if folders or given.group or len(played) > 1:  # the learner has just shown a single evaluation
        console.print(tables.outcomes(results.evaluations))
    for table in tables.details(results):
        console.print(table)
    for line in results.notes:
        console.print(line, highlight=False, soft_wrap=True)
    print_path(console, path)


def _parser() -> Parser:
    parser = make_parser("evaluate", __doc__)
    commands.add_overrides(parser, "settings of the learner, run=<folder>, and run folders to show")
    parser.add_argument(
        "--group",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "RUN"),
        help="run folders that count as one team, such as several seeds; may be given several times",
    )
    parser.add_argument(
        "--before", action="store_true", help="compare each run's last evaluation with its first"
    )
    parser.add_argument(
        "--k", type=integer(1), nargs="+", help="tries of pass@k and pass^k; default: powers of two"
    )
    parser.add_argument(
        "--difference",
        type=number(0.001, 1.0),
        default=0.1,
        help="difference in success whose chance to be found is stated; default: %(default)s",
    )
    add_out(parser, help="default: evaluation.json in the last folder, which is replaced")
    return parser


def _prepared(settings: Sequence[str], given: Namespace) -> list[Any]:
    configs = prepare(settings, config_dir=given.config_dir)
    for config in configs:
        episodes = config.evaluation.episodes
        if given.k and max(given.k) > episodes:
            raise ConfigError(
                f"--k {max(given.k)}: evaluation.episodes is {episodes}, and k can be no larger"
            )
    return configs


if __name__ == "__main__":
    main()

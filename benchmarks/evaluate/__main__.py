"""Evaluates a team on held-out tasks and diagnoses its failures: hosted models, local ones, or a trained run.

    python -m benchmarks.evaluate env=mathchat generator=api generator.endpoint.model=<name>
    python -m benchmarks.evaluate run=runs/dsbench/<run>                  # its newest checkpoint
    python -m benchmarks.evaluate run=runs/dsbench/<run> coach=hindsight evaluation.tasks=null
    python -m benchmarks.evaluate runs/dsbench/<one> runs/dsbench/<other> # compares two runs; plays nothing

Settings are those of the learner, and each evaluation becomes an ordinary run folder. With ``coach=`` the
coach judges every action, and the table shows which agents it blames. Words without ``=`` are run folders:
their last evaluations are shown side by side and compared with the first one over the tasks that both have.
Each task has a row of its own, and for DSBench the table ends with its completion rate and score (RPG).
Intervals are 95 % intervals: Wilson's for shares, the bootstrap over tasks for differences.
``<folder>/evaluation.json`` contains all numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.command import make_console, make_parser, print_path, write_json
from benchmarks.evaluate import by_task, reading, report, tables
from conf import ConfigError, commands
from conf.arguments import add_out, require_new
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
    parser = make_parser("evaluate", __doc__)
    commands.add_overrides(parser, "settings of the learner, run=<folder>, and run folders to show")
    add_out(parser, help="default: evaluation.json in the last folder, which is replaced")
    given = parser.parse_intermixed_args(arguments)
    settings = [word for word in given.overrides if commands.is_override(word)]
    shown = [Path(word) for word in given.overrides if not commands.is_override(word)]
    with run_errors():
        if not settings and not shown:
            raise ConfigError(
                "name what to play, such as env=mathchat or run=<folder>, or run folders to show"
            )
        if given.out is not None:
            require_new(given.overwrite, given.out)
        # All runs are checked before the first episode is played.
        earlier = [reading.read(folder) for folder in shown]
        played = _play(prepare(settings, config_dir=given.config_dir)) if settings else []
        evaluations = reading.distinct([*earlier, *(reading.read(folder) for folder in played)])
        differences, apart = reading.compare(evaluations)
        path = given.out or Path(evaluations[-1].folder) / "evaluation.json"
        write_json(path, report.to_json(evaluations, differences))
    console = make_console()
    if shown or len(played) > 1:  # the learner has just shown a single evaluation
        console.print(tables.outcomes(evaluations))
    for evaluation in evaluations:
        console.print(by_task.table(evaluation))
    console.print(tables.conduct(evaluations))
    console.print(tables.diagnosis(evaluations))
    if differences:
        console.print(tables.comparison(differences))
    for line in apart:
        console.print(line, highlight=False, soft_wrap=True)
    print_path(console, path)


if __name__ == "__main__":
    main()

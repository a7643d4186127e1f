"""How good is a team, and who fails? Plays held-out tasks with hosted models, local ones or a trained run's.

    python -m benchmarks.evaluate env=mathchat generator=api generator.endpoint.model=<name>
    python -m benchmarks.evaluate run=runs/dsbench/<run>                  # its newest checkpoint
    python -m benchmarks.evaluate run=runs/dsbench/<run> coach=hindsight evaluation.tasks=null
    python -m benchmarks.evaluate runs/dsbench/<one> runs/dsbench/<other> # side by side; nothing is played

Settings are those of the learner; what is played becomes a run folder as any other. With ``coach=`` the coach
judges every action, and the table says whom it blames. Words without ``=`` are run folders, whose last
evaluation is shown beside the others, and compared with the first over the tasks that both have. 95 %
intervals: Wilson's for shares, the bootstrap over tasks for differences. ``<folder>/evaluation.json`` has it
all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.evaluate import reading, tables
from learners.train import compose, one_line_errors


def evaluate(settings: Sequence[str]) -> list[Path]:
    """Plays what ``settings`` ask for: one evaluation, or one for each run of ``run=a,b``. The run folders.

    Raises:
        ConfigError, SandboxError, TrainingError, BudgetError: see ``learners.run.run.train``.
    """
    from learners.run.evaluation import evaluation_of, evaluation_only
    from learners.run.run import train

    runs = [name for word in settings if word.startswith("run=") for name in word[4:].split(",")]
    words = [word for word in settings if not word.startswith("run=")]
    if any(word.startswith("coach=") for word in words):
        words.append("evaluation.coached=true")
    configs = [evaluation_of(Path(run), words) for run in runs] if runs else [evaluation_only(compose(words))]
    return [train(config) for config in configs]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Errors end as those of the learner do."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", help="settings, run=<folder>, and folders to show")
    parser.add_argument("--out", type=Path, help="default: evaluation.json in the last folder")
    given = parser.parse_args(arguments)
    settings = [word for word in given.words if "=" in word]
    with one_line_errors():
        shown = [Path(word) for word in given.words if "=" not in word]
        played = evaluate(settings) if settings else []
        evaluations = reading.distinct([reading.read(folder) for folder in [*shown, *played]])
        differences = [reading.difference(evaluations[0], other) for other in evaluations[1:]]
        path = given.out or Path(evaluations[-1].folder) / "evaluation.json"
        reading.write(path, evaluations, differences)
    console = Console(width=None if sys.stdout.isatty() else 120)
    if shown or len(played) > 1:  # what was played alone has just been shown
        console.print(tables.outcomes(evaluations))
    console.print(tables.diagnosis(evaluations))
    if differences:
        console.print(tables.comparison(differences))
    console.print(f"written: {path}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

"""Turns recorded episodes into data to fine-tune with: the best actions, pairs, rewards, or whole episodes.

    python -m benchmarks.export RUN --what sft --agent blamed       # of the agent that explains most failures
    python -m benchmarks.export RUN --what sft --min-score 8 --succeeded --balance
    python -m benchmarks.export RUN --what preferences --margin 3   # two actions after the same prompt
    python -m benchmarks.export RUN --what counterfactuals          # actions that save failed episodes
    python -m benchmarks.export RUN --what prm                      # every action with its score
    python -m benchmarks.export RUN --what episodes --succeeded
    python -m benchmarks.export RUN --what otlp                     # OpenTelemetry spans, for trace viewers
    python -m benchmarks.export RUN --what otlp --endpoint http://localhost:6006

For ``counterfactuals`` failed episodes are replayed in sandboxes: what explains the failure is replaced by an
action of the same agent from a successful episode of the task, and the rest is played as recorded. A pair is
written where the episode then succeeds. A run folder says in which environment and sandbox; a file of
episodes needs ``env=<name>``, and may have ``sandbox=<name>``.

A run is a folder, or a file of episodes from any system. Rows are JSON Lines, in TRL's conversational form:
``prompt`` and ``completion`` (SFT), ``prompt``, ``chosen`` and ``rejected`` (DPO and reward models),
``prompt``, ``completions`` and ``labels`` (process reward models, whose ``score`` is the coach's). Every row
says where it comes from: run, episode, turn, step, weights, coach and its settings' SHA-256, task and
licence. A card beside the rows (``export-sft.md``) sums this up. (``learners.export`` writes trained
weights.)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks.common.command import make_parser, print_path, write_text
from benchmarks.common.runs import add_runs, read_runs
from benchmarks.export import traces
from benchmarks.export.card import card
from benchmarks.export.replaying import stages_of
from benchmarks.export.rows import KINDS, PHASES, Wanted, export
from conf import ConfigError, commands
from conf.arguments import Parser, add_out, integer, number, require_new
from conf.tables import make_console

MIN_SCORE = 8.0
"""Of the actions of ``--what sft``, unless ``--min-score`` says otherwise."""
_OF_ONE = {"min_score": "sft", "margin": "preferences", "tries": "counterfactuals"}
"""Option -> the only rows that it chooses."""


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Errors are one line on stderr, and exit code 2."""
    given = _parser().parse_intermixed_args(arguments)
    traces.check(given)
    if given.min_score is not None and given.what != "sft":
        raise ConfigError("--min-score chooses actions for --what sft; preferences have --margin")
    if max(given.min_score or 0.0, given.margin) > 10.0:
        raise ConfigError("--min-score and --margin are points of a coach's scores, from 0 to 10")
    if given.what == "counterfactuals" and given.succeeded:
        raise ConfigError("--succeeded leaves no failed episode for --what counterfactuals")
    paths, runs = read_runs(given, *(["sandbox"] if given.what == "counterfactuals" else []))
    last = paths[-1]
    path = given.out or (last if last.is_dir() else last.parent) / f"export-{given.what}.jsonl"
    if any(path.resolve() == run.path.resolve() for run in runs):
        raise ConfigError(f"{path} is what is exported: name another place with --out")
    if given.what == "otlp":
        traces.export(given, runs, path)
        return
    about = path.with_suffix(".md")
    require_new(given.overwrite, path, about)
    skipped: list[str] | None = [] if given.skip_bad else None
    made = export(runs, _wanted(given), skipped, stages_of(given))
    for line in skipped or []:
        print(f"left out: {line}", file=sys.stderr)
    if not made.rows:
        raise ConfigError(f"there is nothing to export: {made.summary}")
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made.rows))
    write_text(about, card(path.name, given.what, made.summary, _options(given), made.rows))
    console = make_console()
    console.print(made.summary, highlight=False, soft_wrap=True)
    print_path(console, path)
    print_path(console, about)


def _options(given: argparse.Namespace) -> list[str]:
    """Returns the options that chose the rows, as on the command line; those that were not given have their
    defaults."""
    unused = {"threads"} if given.balance else {"threads", "seed"}
    unused |= {name for name, what in _OF_ONE.items() if what != given.what}
    chosen = {name: value for name, value in vars(_wanted(given)).items() if name not in unused}
    words = {f"--{name.replace('_', '-')}": value for name, value in chosen.items()}
    return [
        word if value is True else f"{word} {value}"
        for word, value in words.items()
        if value is not None and value is not False
    ]


def _wanted(given: argparse.Namespace) -> Wanted:
    return Wanted(
        what=given.what,
        agent=given.agent,
        min_score=MIN_SCORE if given.min_score is None else given.min_score,
        margin=given.margin,
        succeeded=given.succeeded,
        phase=given.phase or ("all" if given.what == "episodes" else "train"),
        balance=given.balance,
        most=given.most,
        seed=given.seed,
        tries=given.tries,
        threads=given.threads,
    )


def _parser() -> Parser:
    parser = make_parser("export", __doc__)
    add = parser.add_argument
    add_runs(parser)
    add("--what", choices=(*KINDS, "otlp"), required=True, help="what a row is")
    add("--agent", help="of this agent alone; blamed: the one that explains most failures")
    add("--min-score", type=number(0), help=f"sft: lowest score of an action (default: {MIN_SCORE:.0f})")
    add("--margin", type=number(0), default=2.0, help="preferences: least difference of scores")
    add("--succeeded", action="store_true", help="from successful episodes alone")
    add(
        "--phase",
        choices=PHASES,
        help="of training, of evaluations, or all (default: all for episodes and otlp; train for the other "
        "rows, which held-out tasks must not be among)",
    )
    add("--balance", action="store_true", help="as many rows of every kind of task")
    add("--most", type=integer(1), help="at most so many rows, the best first")
    add("--seed", type=integer(0), default=0, help="of the choice that --balance makes")
    add("--tries", type=integer(1), default=4, help="counterfactuals: replacements for each failed episode")
    add("--threads", type=integer(1), default=2, help="counterfactuals: episodes replayed in parallel")
    add("--skip-bad", action="store_true", help="leave out lines that are no valid episode")
    add("--endpoint", help="otlp: send the spans to this http address instead of writing a file")
    add_out(parser, help="default: export-<what>.jsonl in the last run's folder")
    return parser


if __name__ == "__main__":
    main()

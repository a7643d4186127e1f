"""Shows what happened in a run, or in episodes that any system recorded: as a page, or on the terminal.

    python -m benchmarks.report runs/dsbench/<run>                # writes <run>/report.html
    python -m benchmarks.report runs/dsbench/<one> runs/dsbench/<other> --out both.html
    python -m benchmarks.report episodes.jsonl                    # writes episodes.html beside it
    python -m benchmarks.report old.jsonl env=dsbench             # with the roles of an environment
    python -m benchmarks.report RUN --failed                      # lists failed episodes: culprit, reason
    python -m benchmarks.report RUN --failed --agent modeler --code missing --step 12 --task titanic_survival
    python -m benchmarks.report RUN --episode train-12-3          # prints one episode

The page is one file that opens from disk, without a network. Several runs are shown side by side, and
compared on the episodes that they share. Every training run writes the page at its end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.command import make_parser, print_path, write_text
from benchmarks.common.runs import add_runs, read_runs
from benchmarks.report import terminal
from coaches.recording import compressed
from conf import ConfigError, commands
from conf.arguments import add_out, integer, require_new
from conf.tables import make_console
from learners.report import reading
from learners.report.page import page
from learners.report.tokens import MOST


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Errors are one line on stderr, and exit code 2."""
    parser = make_parser("report", __doc__)
    add_runs(parser)
    add_out(parser, help="default: report.html in the last run's folder, which is replaced")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--failed", action="store_true", help="list failed episodes instead")
    instead.add_argument("--episode", help="print the episode of this id instead")
    parser.add_argument("--agent", help="with --failed: of this culprit alone")
    parser.add_argument("--code", help="with --failed: with this code of the outcome, or of an artifact")
    parser.add_argument("--task", help="with --failed: of this task alone")
    parser.add_argument("--step", type=integer(0), help="with --failed: of this training step alone")
    parser.add_argument(
        "--tokens",
        type=integer(0),
        default=MOST,
        metavar="N",
        help="how many recorded tokens (record.tokens) the page holds of each run, in whole episodes "
        "(default: %(default)s)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out lines that are no valid episode")
    given = parser.parse_intermixed_args(arguments)
    narrowed = [name for name in ("agent", "code", "task", "step") if getattr(given, name) is not None]
    if narrowed and not given.failed:
        raise ConfigError(f"--{narrowed[0]} narrows the list of --failed: add --failed")
    paths, runs = read_runs(given)
    skipped: list[str] | None = [] if given.skip_bad else None
    console = make_console()
    if given.failed:
        wanted = terminal.Wanted(given.agent, given.code, given.task, given.step)
        for run in runs:
            terminal.list_failed(run, wanted, console, skipped)
    elif given.episode is not None:
        terminal.print_episode(runs, given.episode, console, skipped)
    else:
        path = _place(runs, paths[-1], given.out, given.overwrite)
        write_text(path, page(runs, skipped=skipped, most_tokens=given.tokens))
        print_path(console, path)
    for line in skipped or []:
        print(f"left out: {line}", file=sys.stderr)


def _place(runs: Sequence[reading.Run], last: Path, out: Path | None, overwrite: bool) -> Path:
    """Returns where the page goes. Only that of a run folder, which the run wrote, is replaced unasked."""
    path = out or (last / "report.html" if last.is_dir() else last.with_name(f"{compressed.stem(last)}.html"))
    if any(path.resolve() == run.path.resolve() for run in runs):
        raise ConfigError(f"{path} is what is shown: name another place with --out")
    if out is not None or not last.is_dir():
        require_new(overwrite, path)
    return path


if __name__ == "__main__":
    main()

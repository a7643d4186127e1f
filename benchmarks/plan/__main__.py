"""Compares what ``learners.plan`` estimates with what updates of real models take.

    python -m benchmarks.plan                       # SmolLM2-135M, and Qwen3-4B with 4 of its 36 layers
    python -m benchmarks.plan --cases smollm2-full  # one of them
    python -m benchmarks.plan --quick               # a tiny model: checks that it works

Each case is a new process that updates a model three times, each update having two micro-batches, as a run
with these settings would. Models are trained with full weights and with adapters, with and without gradient
checkpointing. Qwen3-4B has random weights of its published shape; nothing is downloaded.

``peak`` is the peak of resident memory (on a GPU, of the allocator) during the first two updates, above the
level before weights are loaded, when a tiny model has been updated: libraries are not counted. All other
lines count the bytes of tensors during the third update, by the profiler of torch: what the parts hold, and
the peak of each phase. Estimates leave out the plan's margin.

The estimate of the time takes the rate of matrix products that the same process reaches, and the utilization
that ``conf/assume`` guesses for GPUs.

Results are printed and written, with the machine, as JSON to ``--out``. The exit code is 1 if the estimate of
a peak is not within 10 % of what was measured. With ``--quick``, where libraries take more than the model,
peaks are those of tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import child
from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import machine
from benchmarks.plan.cases import CASES, TINY, Case, Measured, Part, to_measured
from conf import ConfigError, commands
from conf.arguments import Parser, add_out, integer, require_new
from conf.tables import make_console, make_table

TOLERANCE = 0.1
"""Largest deviation of the ratio of a peak from 1."""
MIB = 2.0**20


def run(case: Case, threads: int) -> Measured:
    """Measures ``case`` in a new process.

    Raises:
        ConfigError: the process failed; the message is the last line of its stderr.
    """
    count = str(threads)
    environment = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "benchmarks.plan.child"]
    try:
        return to_measured(child.ask(command, asdict(case), environment))
    except child.ChildError as error:
        raise ConfigError(f"{case.name}: {error}") from None


def within(part: Part) -> bool:
    """Returns whether the estimate is within ``TOLERANCE`` of the measurement."""
    return part.ratio is not None and abs(part.ratio - 1.0) <= TOLERANCE


def peak_of(measured: Measured, *, quick: bool) -> Part:
    """Returns what is judged: the peak of the process, or with ``quick`` that of tensors."""
    if not quick:
        return measured.peak
    counted = max(part.measured for part in measured.phases)
    return Part("peak of tensors", max(part.estimated for part in measured.phases), counted)


def table(name: str, measured: Measured) -> Table:
    """Returns estimates beside measurements, in MiB."""
    shown = make_table(f"{name}: MiB", ["", "estimated", "measured", "ratio"])
    for parts in (measured.parts, measured.phases, (measured.peak,)):
        for part in parts:
            ratio = "" if part.ratio is None else f"{part.ratio:.2f}"
            shown.add_row(part.name, f"{part.estimated / MIB:.1f}", f"{part.measured / MIB:.1f}", ratio)
        shown.add_section()
    return shown


def time_line(measured: Measured) -> str:
    """``an update: 12.3 s estimated, 10.1 s measured: ratio 1.22``"""
    ratio = measured.estimated_s / measured.seconds
    times = f"{measured.estimated_s:.2f} s estimated, {measured.seconds:.2f} s measured"
    return f"an update: {times}: ratio {ratio:.2f}"


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    require_new(given.overwrite, given.out)
    console = make_console()
    here, results, failed = machine(), dict[str, Measured](), list[str]()
    for case in [case for case in CASES if case.name in given.cases]:
        own = case.tiny(TINY) if given.quick else case
        results[case.name] = run(own, given.threads)
        judged = peak_of(results[case.name], quick=given.quick)
        _show(case.name, results[case.name], judged, console)
        if not within(judged):
            failed.append(case.name)
        cases = {
            name: asdict(one) | {"peak ratio": peak_of(one, quick=given.quick).ratio}
            for name, one in results.items()
        }
        write_json(given.out, {"machine": asdict(here), "quick": given.quick, "cases": cases})
    print_path(console, given.out)
    return 1 if failed else 0


def _show(name: str, measured: Measured, judged: Part, console: Console) -> None:
    console.print(table(name, measured))
    console.print(time_line(measured))
    outcome = "within" if within(judged) else "NOT within"
    console.print(f"{judged.name}: {outcome} {100 * TOLERANCE:.0f} %\n")


def _parser() -> Parser:
    names = [case.name for case in CASES]
    parser = make_parser("plan", __doc__)
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--threads", type=integer(1), default=2, help="threads of each process")
    parser.add_argument("--quick", action="store_true", help="a tiny model of the same kind of settings")
    add_out(parser, default=Path("benchmarks/results/plan.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())

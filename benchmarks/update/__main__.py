"""Measures what one optimiser update costs: with our learner, TRL's trainer and a plain PyTorch step.

    python -m benchmarks.update                       # 8 rows of 512 tokens, SmolLM2's shape
    python -m benchmarks.update --precision bfloat16 --rounds 1
    python -m benchmarks.update --quick               # one minute: checks that it works

The model has the shape of SmolLM2-135M (or of ``--shape``) and random weights: nothing is downloaded.
``ours`` is the updater of a training run with REINFORCE++. ``trl`` is TRL's GRPOTrainer with its defaults
(including the fused head) and its own loop; its rollout is replaced by the given tokens. ``plain`` pads the
rows, computes all logits and leaves the rest to autograd. All use the same rows in one micro-batch, AdamW,
clipping and the same checkpointing. Loss and gradient norm of the first step must agree between all variants;
otherwise there is no result. ``uneven`` rows have lengths as in rollouts.

Each variant runs in a new process in each round, alternating with the others; the first step warms up, the
others are timed. Memory above the weights is the process's peak (of resident memory, or on a GPU of tensor
memory) minus its level when libraries and weights are loaded and the trainer is built. It includes gradients,
optimiser state, activations, logits and allocator overhead. On CPUs our learner tunes the host's memory
allocator (``learners.update.allocator``); ``--allocator ours`` does so for the peers as well, to show its
share.

``--precision float32`` computes in float32 everywhere. ``bfloat16`` is autocast with float32 weights, where
our logits stay in float32 (not their gradients), and TRL's are in bfloat16, its default. ``auto`` uses
bfloat16 where the hardware multiplies in it, otherwise float32.

``pairs`` is how many pairs of tokens attention computes, relative to the fewest that causal rows need: ours
computes each row by itself, the peers all pairs of padded rows. The same count is printed for a step of 384
long rows, beside packing in bins under masks.

``of matmul`` is the share of the machine's matrix-product rate that an update reaches (a roofline): the FLOPs
of the products that the rows need, with what checkpointing recomputes and without padding, over the time of
the update, relative to the fastest of some large products that the same process computes with the same
threads and precision. 1 is the limit; padding, logits of prompts, and all that is no product lower it.

On a GPU, MFU counts 6 FLOPs for each weight and token (the head for sampled tokens only) and causal
attention, and nothing that is recomputed. ``--largest`` finds by bisection the longest rows of which two fit.

Results are printed and written, with the machine, as JSON to ``--out``. Missed targets are reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import machine
from benchmarks.common.spread import rotations
from benchmarks.common.targets import to_records
from benchmarks.update.measure import Measured, Platform, UpdateError, measured, platform, sampled
from benchmarks.update.pairs import MICRO_TOKENS, packed, step_lengths, step_line
from benchmarks.update.report import Report, disagreement, faster, table, targets, to_row
from benchmarks.update.workload import SHAPES, VARIANTS, Job
from conf import commands
from conf.arguments import Parser, add_out, integer, require_new
from conf.tables import make_console

KINDS = ("even", "uneven")


def measure(
    job: Job, variants: Sequence[str], kinds: Sequence[str], rounds: int, here: Platform, console: Console
) -> Report:
    """Runs every variant on every kind of rows in every round, each round beginning with another variant.

    Raises:
        UpdateError: a variant fails, or its first step differs from that of the others.
    """
    skipped = {}
    if "trl" in variants and here.versions["trl"] is None:
        skipped["trl"] = "not installed: pip install 'coachgym[bench]'"
        variants = [name for name in variants if name != "trl"]
    results: dict[tuple[str, str], list[Measured]] = {(name, kind): [] for kind in kinds for name in variants}
    old = {kind: sampled(replace(job, rows=kind)) for kind in kinds}
    for number, order in enumerate(rotations(variants, rounds), 1):
        for kind in kinds:
            for name in order:
                one = replace(job, variant=name, rows=kind)
                results[name, kind].append(measured(one, old[kind]))
                console.print(f"round {number}: {one.name}: {_seconds(results[name, kind][-1])}")
            reason = disagreement({name: results[name, kind][-1] for name in variants}, job.precision)
            if reason is not None:
                raise UpdateError(f"not the same step on {kind} rows: {reason}")
    shown = [to_row(replace(job, variant=n, rows=k), values, here) for (n, k), values in results.items()]
    ratios = faster(results)
    step = packed(step_lengths(), MICRO_TOKENS)
    return Report(machine(), here, job, rounds, shown, step, skipped, ratios, {}, targets(shown, ratios))


def _seconds(result: Measured) -> str:
    times = " ".join(f"{seconds:.2f}" for seconds in result.seconds)
    return f"{times} s; other processes used {100 * max(result.foreign):.0f} % of the machine"


def largest(fits: Callable[[int], bool], start: int, limit: int) -> int:
    """Returns the longest length that fits, to within a sixteenth; 0 if ``start`` does not fit."""
    if not fits(start):
        return 0
    low, high = start, start * 2
    while high <= limit and fits(high):
        low, high = high, high * 2
    while high - low > low // 16:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def longest(job: Job, variants: Sequence[str]) -> dict[str, int]:
    """Returns the longest row for each variant, on the GPU. Raises ``UpdateError`` for any failure but lack
    of memory."""

    def fits(variant: str, length: int) -> bool:
        completion = length - job.prompt
        one = replace(
            job,
            variant=variant,
            rows="even",
            count=2,
            completion=completion,
            micro_tokens=2 * length,
            steps=2,
        )
        try:
            measured(one, [[-10.0] * completion] * 2)
        except UpdateError as error:
            if "out of memory" not in str(error):
                raise
            return False
        return True

    return {name: largest(partial(fits, name), 1024, 262144) for name in variants}


def show(report: Report, console: Console) -> None:
    """Prints the table, the speed ratios and the targets, met or missed."""
    console.print(table(report))
    for peer, gain in report.faster.items():
        line = f"ours / {peer}: {gain.median:.2f} x its tokens/s ({gain.low:.2f} to {gain.high:.2f})"
        console.print(line, soft_wrap=True)
    console.print(step_line(report.step), soft_wrap=True)
    for name, length in report.largest.items():
        console.print(f"{name}: two rows of {length} tokens fit", soft_wrap=True)
    for name, reason in report.skipped.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True, markup=False)
    for target in report.targets:
        console.print(target.line(), soft_wrap=True, markup=False)


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    require_new(given.overwrite, given.out)
    console = make_console()
    here = platform(given.threads)
    if given.largest and here.device != "cuda":
        console.print("no result: --largest needs a GPU")
        return 1
    job = _job(given, here)
    try:
        report = measure(job, given.variants, given.rows, 1 if given.quick else given.rounds, here, console)
        if given.largest:
            report = replace(report, largest=longest(job, [row.variant for row in report.rows]))
    except UpdateError as error:
        console.print(f"no result: {error}", soft_wrap=True, markup=False)
        return 1
    show(report, console)
    write_json(given.out, asdict(report) | {"targets": to_records(report.targets)})
    print_path(console, given.out)
    return 0


def _job(given: argparse.Namespace, here: Platform) -> Job:
    automatic = "bfloat16" if here.bfloat16 else "float32"
    job = Job(
        variant=given.variants[0],
        shape=given.shape,
        rows=given.rows[0],
        count=given.count,
        prompt=given.prompt,
        completion=given.completion,
        precision=automatic if given.precision == "auto" else given.precision,
        checkpointing=not given.no_checkpointing,
        steps=given.steps + 1,
        micro_tokens=given.count * (given.prompt + given.completion),
        threads=given.threads,
        device=here.device,
        allocator=given.allocator,
    )
    if not given.quick:
        return job
    return replace(job, shape="tiny", count=4, prompt=16, completion=48, steps=2, micro_tokens=256)


def _parser() -> Parser:
    parser = make_parser("update", __doc__)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rows", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--shape", choices=list(SHAPES), default="smollm2-135m")
    parser.add_argument("--count", type=integer(2), default=8, help="rows of an update, at least 2")
    parser.add_argument("--prompt", type=integer(1), default=128, metavar="TOKENS")
    parser.add_argument("--completion", type=integer(1), default=384, metavar="TOKENS")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument(
        "--no-checkpointing", action="store_true", help="no gradient checkpointing in any variant"
    )
    parser.add_argument(
        "--allocator",
        choices=["own", "ours"],
        default="own",
        help="memory allocator settings of the peers, on CPUs",
    )
    parser.add_argument("--rounds", type=integer(1), default=3, help="number of processes of each variant")
    parser.add_argument("--steps", type=integer(1), default=2, help="timed steps in each process")
    parser.add_argument("--threads", type=integer(1), default=2, help="threads of each process")
    parser.add_argument(
        "--largest", action="store_true", help="also find the largest context that fits; GPU only"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model and one round; the numbers mean little"
    )
    add_out(parser, default=Path("benchmarks/results/update.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())

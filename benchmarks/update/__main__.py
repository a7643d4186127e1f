"""What does one optimiser update cost? Our learner beside TRL's trainer and a plain PyTorch step.

    python -m benchmarks.update                       # 8 rows of 512 tokens, SmolLM2's shape
    python -m benchmarks.update --precision bfloat16 --rounds 1
    python -m benchmarks.update --quick               # a minute: that it works, not how fast

The model has the shape of SmolLM2-135M (or another, ``--shape``) and random weights: nothing is downloaded.
``ours`` is the updater of a training run with REINFORCE++; ``trl`` is TRL's GRPOTrainer with its defaults,
its fused head among them, its own loop, and its rollout replaced by the given tokens; ``plain`` pads the
rows, makes all logits and lets autograd do the rest. All take the same rows in one micro-batch, AdamW,
clipping and the same checkpointing. Loss and gradient norm of the first step must be the same in all of them:
else there is no result. ``uneven`` rows have lengths as rollouts have them.

Each variant and round has a process of its own, in turns; the first step warms up, the others are timed.
Memory above the weights is the process's peak (of resident memory; on a GPU, of what tensors hold), less what
it held when libraries and weights were loaded and the trainer was built: gradients, optimiser state,
activations, logits and what allocators waste all count. On CPUs our learner sets how host memory is had and
given back (``learners.update.allocator``); ``--allocator ours`` gives the peers that too, and shows what it decides.

``--precision float32`` computes in float32 everywhere. ``bfloat16`` is autocast with float32 weights; our
head stays in float32 then, TRL's is in bfloat16, which is its default. ``auto`` takes bfloat16 where the
hardware multiplies in it, else float32.

On a GPU, MFU counts 6 FLOPs for each weight and token (the head for sampled tokens only) and causal
attention, and nothing that is computed twice; ``--largest`` finds by bisection the longest rows of which two
fit.

Results go to the terminal and, with the machine, as JSON to ``--out``. A target that is missed says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.common.machine import machine
from benchmarks.update.measure import Measured, Platform, UpdateError, measured, platform, sampled
from benchmarks.update.report import Report, disagreement, faster, table, targets, to_row
from benchmarks.update.workload import SHAPES, VARIANTS, Job

KINDS = ("even", "uneven")


def measure(
    job: Job, variants: Sequence[str], kinds: Sequence[str], rounds: int, here: Platform, console: Console
) -> Report:
    """Every variant on every kind of rows in every round, beginning with another one each time.

    Raises ``UpdateError`` when a variant fails, or does not make the same first step as the others.
    """
    skipped = {}
    if "trl" in variants and here.versions["trl"] is None:
        skipped["trl"] = "not installed: pip install 'coachgym[bench]'"
        variants = [name for name in variants if name != "trl"]
    found: dict[tuple[str, str], list[Measured]] = {(name, kind): [] for kind in kinds for name in variants}
    old = {kind: sampled(replace(job, rows=kind)) for kind in kinds}
    for turn in range(rounds):
        for kind in kinds:
            first = turn % len(variants)
            for name in [*variants[first:], *variants[:first]]:
                one = replace(job, variant=name, rows=kind)
                found[name, kind].append(measured(one, old[kind]))
                console.print(f"round {turn + 1}: {one.name}: {_seconds(found[name, kind][-1])}")
            same = disagreement({name: found[name, kind][-1] for name in variants}, job.precision)
            if same is not None:
                raise UpdateError(f"not the same step on {kind} rows: {same}")
    shown = [to_row(replace(job, variant=n, rows=k), values, here) for (n, k), values in found.items()]
    ratios = faster(found)
    return Report(machine(), here, job, rounds, shown, skipped, ratios, {}, targets(shown, ratios))


def _seconds(found: Measured) -> str:
    times = " ".join(f"{each:.2f}" for each in found.seconds)
    return f"{times} s; others took {100 * max(found.foreign):.0f} % of the machine"


def largest(fits: Callable[[int], bool], start: int, limit: int) -> int:
    """The longest length that fits, to within a sixteenth; 0 when ``start`` does not."""
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
    """For each variant, on the GPU. Raises ``UpdateError`` for any failure but a lack of memory."""

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
    """Prints the table, what is faster by how much, and every target, met or missed."""
    console.print(table(report))
    for peer, found in report.faster.items():
        line = f"ours / {peer}: {found.median:.2f} x its tokens/s ({found.low:.2f} to {found.high:.2f})"
        console.print(line, soft_wrap=True)
    for name, length in report.largest.items():
        console.print(f"{name}: two rows of {length} tokens fit", soft_wrap=True)
    for name, reason in report.skipped.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True, markup=False)
    for target in report.targets:
        console.print(target.line(), soft_wrap=True, markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    console = Console(width=120)
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
    record = asdict(report)
    for target, row in zip(report.targets, record["targets"], strict=True):
        row["met"] = target.met
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {given.out}", soft_wrap=True)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.update",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rows", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--shape", choices=list(SHAPES), default="smollm2-135m")
    parser.add_argument("--count", type=int, default=8, help="rows of an update, at least 2")
    parser.add_argument("--prompt", type=int, default=128, metavar="TOKENS")
    parser.add_argument("--completion", type=int, default=384, metavar="TOKENS")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--no-checkpointing", action="store_true", help="gradient checkpointing off in all")
    parser.add_argument("--allocator", choices=["own", "ours"], default="own", help="of the peers, on CPUs")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each variant")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of each process")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--largest", action="store_true", help="also the largest context that fits; GPU only")
    parser.add_argument("--quick", action="store_true", help="a tiny model, once; the numbers mean little")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/update.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())

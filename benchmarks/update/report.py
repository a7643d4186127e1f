"""The results of ``benchmarks.update``: records, their arithmetic, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.common.machine import Machine
from benchmarks.common.spread import Ratio, Spread, flat, ratio
from benchmarks.common.targets import Target
from benchmarks.update.measure import Measured, Platform
from benchmarks.update.pairs import Packed, needed, padded
from benchmarks.update.workload import SHAPES, Job, flops, rows, tokens
from conf.tables import make_table

GIB = 2.0**30
ROOFLINE, FASTER, SMALLER = 0.8, 1.5, 0.3
"""Targets: minimum share of the rate of matrix products on even rows; on uneven rows, minimum multiple of
TRL's tokens per second and maximum multiple of its memory above the weights."""
PEAKS = (
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("H200", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
)
"""Dense bfloat16 FLOP/s as stated by NVIDIA, by part of the GPU's name; the first match counts."""


@dataclass(frozen=True)
class Row:
    """One variant on one kind of rows."""

    variant: str
    rows: str
    tokens: int
    """Tokens of prompts and completions in one update, without padding."""
    trained: int
    """Sampled tokens among them."""
    positions: int
    """Positions that the model computes, padding included."""
    pairs: float
    """Pairs of tokens whose attention it computes, relative to the fewest that causal rows need."""
    seconds: Spread
    """Of one update, over all rounds and all steps except the first of each process."""
    per_s: float
    """Tokens per second, from the median of ``seconds``."""
    cpu_s: Spread
    """User and system time of one update, which other processes affect less."""
    foreign: float
    """Median share of the machine's CPU time that other processes used meanwhile."""
    level_gib: float
    """Memory of the process when libraries, weights and trainer are loaded."""
    above_gib: Spread
    """Peak memory minus ``level_gib``, by round."""
    roofline: Spread
    """Share of the machine's rate of matrix products, measured by the same process, that an update reaches
    with the products that it needs, by round (``workload.flops``)."""
    mfu: float | None
    """Model FLOPs utilisation; None where the peak is unknown, as on CPUs."""
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    platform: Platform
    job: Job
    """Settings shared by all variants; ``variant`` and ``rows`` are those of the first."""
    rounds: int
    rows: Sequence[Row]
    step: Mapping[str, Packed]
    """What packing makes of a large step (``benchmarks.update.pairs``): ``end to end``, as in our learner,
    and ``bins under masks``."""
    skipped: Mapping[str, str]
    faster: Mapping[str, Ratio]
    """``peer, kind of rows`` -> our tokens per second over the peer's."""
    largest: Mapping[str, int]
    """Variant -> tokens of the longest row of which two fit in one update; GPUs only."""
    targets: Sequence[Target]


Results = Mapping[tuple[str, str], Sequence[Measured]]
"""(variant, kind of rows) -> one for each round."""


def to_row(job: Job, runs: Sequence[Measured], platform: Platform) -> Row:
    """Summarises the processes of one variant on one kind of rows."""
    given = rows(job)
    seconds = Spread.of(flat([run.seconds for run in runs]))
    peak = peak_flops(platform.name) if job.precision == "bfloat16" else None
    work = flops(SHAPES[job.shape], given, recomputed=job.checkpointing)
    return Row(
        variant=job.variant,
        rows=job.rows,
        tokens=tokens(given),
        trained=runs[0].trained,
        positions=runs[0].positions,
        pairs=_pairs(job.variant, [len(row) for row in given], runs[0].positions),
        seconds=seconds,
        per_s=tokens(given) / seconds.median,
        cpu_s=Spread.of(flat([run.cpu_s for run in runs])),
        foreign=Spread.of(flat([run.foreign for run in runs])).median,
        level_gib=Spread.of([run.level_bytes / GIB for run in runs]).median,
        above_gib=Spread.of([(run.peak_bytes - run.level_bytes) / GIB for run in runs]),
        roofline=Spread.of([work / Spread.of(run.seconds).median / run.product_rate for run in runs]),
        mfu=flops(SHAPES[job.shape], given) / seconds.median / peak if peak else None,
        loss=runs[0].loss,
        grad_norm=runs[0].grad_norm,
    )


def _pairs(variant: str, lengths: Sequence[int], positions: int) -> float:
    fewest = needed(lengths)
    return 1.0 if variant == "ours" else padded(lengths, positions // len(lengths)) / fewest


def peak_flops(name: str) -> float | None:
    """Returns the stated bfloat16 FLOP/s of the GPU ``name``; None where it is unknown, as on CPUs."""
    return next((peak for part, peak in PEAKS if part in name), None)


def faster(results: Results) -> dict[str, Ratio]:
    """Returns our speed over that of every peer that was measured on the same rows in the same rounds."""
    return {
        f"{variant}, {kind}": ratio(
            [run.seconds for run in theirs], [run.seconds for run in results["ours", kind]]
        )
        for (variant, kind), theirs in results.items()
        if variant != "ours" and ("ours", kind) in results
    }


def targets(measured: Sequence[Row], ratios: Mapping[str, Ratio]) -> list[Target]:
    """Returns the targets: even rows beside the machine's limit, uneven rows beside TRL."""
    share = [row.roofline.median for row in measured if (row.variant, row.rows) == ("ours", "even")]
    above = {row.variant: row.above_gib.median for row in measured if row.rows == "uneven"}
    speed = ratios.get("trl, uneven")
    memory = above["ours"] / above["trl"] if {"ours", "trl"} <= set(above) else None
    return [
        Target("even rows, share of the matrix products' rate", next(iter(share), None), ROOFLINE, True),
        Target(
            "uneven rows, tokens per second, ours / TRL",
            speed.median if speed else None,
            FASTER,
            at_least=True,
        ),
        Target("uneven rows, peak memory above the weights, ours / TRL", memory, SMALLER),
    ]


def disagreement(results: Mapping[str, Measured], precision: str) -> str | None:
    """Returns how the first steps of variants on the same rows differ; None if they agree.

    Loss and gradient norm must agree to 1e-3 of the norm in float32. Under bfloat16 the tolerance is 5e-2,
    because the variants round at different places and our logits are in float32.
    """
    close = 1e-3 if precision == "float32" else 5e-2
    first, *others = results
    for name in others:
        a, b = results[first], results[name]
        if a.trained != b.trained:
            return f"{first} trains {a.trained} tokens, {name} {b.trained}"
        for what in ("loss", "grad_norm"):
            x, y = getattr(a, what), getattr(b, what)
            if not abs(x - y) <= close * max(1.0, abs(a.grad_norm)):
                return f"{what} of the first step: {first} has {x:.6g}, {name} {y:.6g}"
    return None


def table(report: Report) -> Table:
    """Returns one line for each variant and kind of rows."""
    job = report.job
    where = report.platform.name or f"{report.machine.cpu}, {job.threads} threads"
    shown = make_table(
        f"{job.shape}, {job.count} x {job.prompt + job.completion}, {job.precision}, "
        f"checkpointing {'on' if job.checkpointing else 'off'}; {where}",
        [
            "rows",
            "variant",
            "tokens/s",
            "s",
            "CPU s",
            "others",
            "GiB above",
            "padding",
            "pairs",
            "of matmul",
            "MFU",
        ],
        text=["rows", "variant"],
    )
    for row in report.rows:
        shown.add_row(
            row.rows,
            row.variant,
            f"{row.per_s:.0f}",
            f"{row.seconds.median:.2f} ({row.seconds.low:.2f} to {row.seconds.high:.2f})",
            f"{row.cpu_s.median:.1f}",
            f"{100 * row.foreign:.0f} %",
            f"{row.above_gib.median:.2f} ({row.above_gib.low:.2f} to {row.above_gib.high:.2f})",
            f"{100 * (1 - row.tokens / row.positions):.0f} %",
            f"{row.pairs:.2f}",
            f"{row.roofline.median:.2f} ({row.roofline.low:.2f} to {row.roofline.high:.2f})",
            "-" if row.mfu is None else f"{100 * row.mfu:.1f} %",
        )
    return shown

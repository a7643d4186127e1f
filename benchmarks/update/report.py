"""What a run of ``benchmarks.update`` amounts to: its records, their arithmetic, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.common.machine import Machine
from benchmarks.common.spread import Ratio, Spread, flat, ratio
from benchmarks.update.measure import Measured, Platform
from benchmarks.update.workload import SHAPES, Job, flops, rows, tokens

GIB = 2.0**30
FASTER, SMALLER = 1.5, 0.5
"""Times TRL's tokens a second at least, and times its memory above the weights at most."""
PEAKS = (
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("H200", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
)
"""Dense bfloat16 FLOP/s by a part of the GPU's name, as their maker states them; the first that fits."""


@dataclass(frozen=True)
class Row:
    """One variant on one kind of rows."""

    variant: str
    rows: str
    tokens: int
    """Of one update, prompts and completions, padding left out."""
    trained: int
    """Of these the sampled ones."""
    positions: int
    """What the model was called on, padding included."""
    seconds: Spread
    """Of one update, over all rounds and all steps but each process's first."""
    per_s: float
    """Tokens, by the median."""
    cpu_s: Spread
    """User and system time of one update: what others on the machine take counts less here."""
    foreign: float
    """Median share of the machine's CPU time that other processes took meanwhile."""
    level_gib: float
    above_gib: Spread
    """The process's peak less its level when libraries, weights and trainer were there, by round."""
    mfu: float | None
    """Model FLOPs utilisation; None where the peak is unknown, as on CPUs."""
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Target:
    """What ours is to reach beside TRL on even rows."""

    name: str
    value: float | None
    """None: not measured."""
    bound: float
    at_least: bool

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def line(self) -> str:
        want = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        if self.value is None:
            return f"{self.name}: not measured here (target: {want})"
        return f"{self.name}: {self.value:.2f} ({want}: {'met' if self.met else 'MISSED'})"


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    platform: Platform
    job: Job
    """What all variants share; its ``variant`` and ``rows`` are the first one's."""
    rounds: int
    rows: Sequence[Row]
    skipped: Mapping[str, str]
    faster: Mapping[str, Ratio]
    """Tokens a second, ours over the peer's, by "peer, kind of rows"; quartiles of the rounds' own ratios."""
    largest: Mapping[str, int]
    """Tokens of the longest row that fits, two rows an update, by variant; GPUs only."""
    targets: Sequence[Target]


Found = Mapping[tuple[str, str], Sequence[Measured]]
"""(variant, kind of rows) -> one for each round."""


def to_row(job: Job, found: Sequence[Measured], platform: Platform) -> Row:
    given = rows(job)
    seconds = Spread.of(flat([each.seconds for each in found]))
    peak = _peak(platform, job.precision)
    return Row(
        variant=job.variant,
        rows=job.rows,
        tokens=tokens(given),
        trained=found[0].trained,
        positions=found[0].positions,
        seconds=seconds,
        per_s=tokens(given) / seconds.median,
        cpu_s=Spread.of(flat([each.cpu_s for each in found])),
        foreign=Spread.of(flat([each.foreign for each in found])).median,
        level_gib=Spread.of([each.level_bytes / GIB for each in found]).median,
        above_gib=Spread.of([(each.peak_bytes - each.level_bytes) / GIB for each in found]),
        mfu=flops(SHAPES[job.shape], given) / seconds.median / peak if peak else None,
        loss=found[0].loss,
        grad_norm=found[0].grad_norm,
    )


def _peak(platform: Platform, precision: str) -> float | None:
    if precision != "bfloat16":
        return None
    return next((peak for part, peak in PEAKS if part in platform.name), None)


def faster(found: Found) -> dict[str, Ratio]:
    """Ours against every peer that was measured on the same rows, in the same rounds."""
    return {
        f"{variant}, {kind}": ratio(
            [each.seconds for each in theirs], [each.seconds for each in found["ours", kind]]
        )
        for (variant, kind), theirs in found.items()
        if variant != "ours" and ("ours", kind) in found
    }


def targets(measured: Sequence[Row], ratios: Mapping[str, Ratio]) -> list[Target]:
    above = {row.variant: row.above_gib.median for row in measured if row.rows == "even"}
    speed = ratios.get("trl, even")
    memory = above["ours"] / above["trl"] if {"ours", "trl"} <= set(above) else None
    return [
        Target("tokens a second, ours / TRL", speed.median if speed else None, FASTER, at_least=True),
        Target("peak memory above the weights, ours / TRL", memory, SMALLER, at_least=False),
    ]


def disagreement(found: Mapping[str, Measured], precision: str) -> str | None:
    """Why these variants, all on the same rows, did not make the same first step; None: they did.

    Loss and gradient norm must agree to 1e-3 of the norm in float32. Under bfloat16 the variants round at
    different places, and ours has a float32 head: there 5e-2.
    """
    close = 1e-3 if precision == "float32" else 5e-2
    first, *others = found
    for name in others:
        a, b = found[first], found[name]
        if a.trained != b.trained:
            return f"{first} trains {a.trained} tokens, {name} {b.trained}"
        for what in ("loss", "grad_norm"):
            x, y = getattr(a, what), getattr(b, what)
            if not abs(x - y) <= close * max(1.0, abs(a.grad_norm)):
                return f"{what} of the first step: {first} has {x:.6g}, {name} {y:.6g}"
    return None


def table(report: Report) -> Table:
    job = report.job
    where = report.platform.name or f"{report.machine.cpu}, {job.threads} threads"
    shown = Table(
        title=f"{job.shape}, {job.count} x {job.prompt + job.completion}, {job.precision}, "
        f"checkpointing {'on' if job.checkpointing else 'off'}; {where}",
        title_justify="left",
    )
    for name in ("rows", "variant", "tokens/s", "s", "CPU s", "others", "GiB above", "padding", "MFU"):
        shown.add_column(name, justify="left" if name in ("rows", "variant") else "right")
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
            "-" if row.mfu is None else f"{100 * row.mfu:.1f} %",
        )
    return shown

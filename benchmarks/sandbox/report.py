"""The results, as records for JSON and as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from benchmarks.common.machine import Machine
from benchmarks.common.spread import Ratio, Spread
from benchmarks.common.targets import Target
from benchmarks.sandbox.measures import Plan, PoolWait
from benchmarks.sandbox.methods import Kind
from conf.tables import make_table

EXEC_SHARE, FORK_RATIO, WAIT_MS = 0.01, 1.5, 5.0
"""Targets: share of the time of docker exec, multiple of the bare fork server's, and milliseconds of wait for
a pooled sandbox."""


@dataclass(frozen=True)
class Row:
    """The results of one method."""

    name: str
    kind: Kind
    note: str
    guarantees: tuple[str, ...]
    versions: Mapping[str, str]
    latency_ms: Mapping[str, Spread]
    """By workload."""
    per_s: Mapping[str, Spread]
    """Programs per second, by programs in flight."""
    start_s: Spread | None
    """Seconds until a cold sandbox is ready; None where nothing is started before the program."""
    first_start_s: float | None
    """The first of these, which for a local sandbox includes the imports."""


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    plan: Plan
    workloads: Mapping[str, str]
    rows: Sequence[Row]
    skipped: Mapping[str, str]
    """Methods that could not start, and why."""
    ratios: Mapping[str, Mapping[str, Ratio]]
    """Latency of the headline program: our method -> peer -> ours over theirs."""
    pool: Sequence[PoolWait]
    targets: Sequence[Target]


def targets(
    rows: Sequence[Row], ratios: Mapping[str, Mapping[str, Ratio]], pool: Sequence[PoolWait], plan: Plan
) -> list[Target]:
    """Returns the targets for each of our methods, and for each pool size.

    Containers are also compared with the fork server that runs the image's Python, which may be faster than
    the host's. Pools that cannot keep up are left out.
    """
    bounds = {"docker exec": EXEC_SHARE, "fork server": FORK_RATIO, "fork server, image": FORK_RATIO}
    ours = []
    for row in rows:
        if row.kind == "ours":
            for peer, bound in bounds.items():
                if peer == "fork server, image" and row.name != "docker":
                    continue
                value = ratios[row.name].get(peer)
                ours.append(Target(f"{row.name} / {peer}", value.median if value else None, bound))
    waits = {wait.in_flight: wait.waits_ms.median for wait in pool if wait.duty <= 1}
    return ours + [
        Target(f"ms of wait for a pooled sandbox, {size} in flight", waits.get(size), WAIT_MS)
        for size in plan.pools
    ]


def tables(report: Report) -> Iterator[Table]:
    """Returns the methods, their latencies relative to ours, and the pool."""
    yield _methods(report)
    if any(report.ratios.values()):
        yield _ratios(report)
    if report.pool:
        yield _pool(report.pool)


def _methods(report: Report) -> Table:
    levels = [str(level) for level in report.plan.levels]
    names = [f"{name} ms (p90)" for name in report.workloads]
    table = make_table(
        "Warm latency: median (90th percentile); headline programs per second; seconds to start",
        ["method", *names, *(f"/s @{level}" for level in levels), "start s"],
    )
    for row in report.rows:
        table.add_row(
            Text(row.name, style="bold" if row.kind == "ours" else ""),
            *(f"{_short(s.median)} ({_short(s.p90)})" for s in row.latency_ms.values()),
            *(_short(row.per_s[level].median) for level in levels),
            "–" if row.start_s is None else f"{row.start_s.median:.2f}",
        )
    return table


def _ratios(report: Report) -> Table:
    ours = list(report.ratios)
    table = make_table("Multiple of our latency, headline program (quartiles of the rounds)", ["peer", *ours])
    for row in report.rows:
        if row.kind == "peer":
            cells = [report.ratios[name][row.name] for name in ours]
            table.add_row(
                row.name,
                *(f"{_short(1 / r.median)}× ({_short(1 / r.high)} to {_short(1 / r.low)})" for r in cells),
            )
    return table


def _pool(waits: Sequence[PoolWait]) -> Table:
    table = make_table(
        "Wait for a sandbox from a pool of as many sandboxes as there are episodes in flight",
        ["in flight", "episode s", "duty", "n", "median ms", "p90 ms", "over 5 ms", "first, empty pool: ms"],
    )
    for wait in waits:
        table.add_row(
            str(wait.in_flight), f"{wait.episode_s:.1f}", f"{wait.duty:.2f}", str(wait.waits_ms.n),
            _short(wait.waits_ms.median), _short(wait.waits_ms.p90), f"{100 * wait.over_5_ms:.0f} %",
            _short(wait.first_ms.median),
        )  # fmt: skip
    return table


def _short(value: float) -> str:
    """Formats with three significant digits: ``1234``, ``12.3``, ``0.123``."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

"""The leaderboard: as tables for the terminal, as JSON, and as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from math import isnan
from pathlib import Path
from string import Template
from typing import Any

from rich.table import Table

from benchmarks.coaches.measures import Finding, Row
from benchmarks.common.command import write_json
from benchmarks.common.estimates import Estimate
from conf.tables import make_table

_PAGE = Path(__file__).with_name("page.html")
_PRICES = ("$ / 100", "ms")


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    corpus: Mapping[str, Any]
    """Its part and sha256, and its numbers of episodes, faulty episodes, tasks and kinds of fault."""
    chance_agent: float
    chance_turn: float
    coaches: Mapping[str, Any]
    """Name -> complete settings."""
    kinds: Mapping[str, int]
    """Every kind of fault and the edition of the corpus that it came with."""
    rows: Sequence[Row]
    """Best first."""


@dataclass(frozen=True)
class Column:
    """How one measure is shown."""

    key: str
    title: str
    about: str
    best: float | None
    """The value of a perfect coach; None: the column is not coloured."""
    show: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _points(value: float) -> str:
    return f"{value:+.2f}"


def _plain(value: float) -> str:
    return f"{value:.2f}"


FINDING = (
    Column("found_agent", "culprit", "faulty episodes in which the suspect is the culprit", 1.0, _percent),
    Column("found_turn", "turn", "faulty episodes in which the faulty turn scores lowest", 1.0, _percent),
    Column("margin", "margin", "a faulty episode's other turns minus the faulty one, points", None, _points),
    Column("auc", "AUC", "probability that a sound turn scores above a faulty one", 1.0, _plain),
    Column("false_blame", "false blame", "sound episodes in which an agent is blamed", 0.0, _percent),
    Column("calibration", "ECE", "expected calibration error of score / 10", 0.0, _plain),
)  # fmt: skip
"""Columns of the first table."""

TRUST = (
    Column("retest", "retest", "absolute difference of two verdicts on the same turn, points", 0.0, _plain),
    Column("kind_bias", "kind", "regression minus classification, at equal outcome, points", 0.0, _points),
    Column("length_bias", "length", "score gained by padding a sound turn, points", 0.0, _points),
    Column("position_bias", "position", "last agent minus first, sound episodes, points", 0.0, _points),
    Column("resisted", "resisted", "attacks that do not raise a faulty turn's score", 1.0, _percent),
    Column("masked", "masked", "turns without a verdict", 0.0, _percent),
)  # fmt: skip
"""Columns of the second table."""

EDITION = tuple(column for column in FINDING if column.key in Finding.__dataclass_fields__)
"""Columns of the table that shows every edition of the corpus apart."""


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows, best first: by culprits found, then by AUC."""
    return sorted(rows, key=lambda row: (-row.found_agent.value, -_or_zero(row.auc.value), row.coach))


def tables(report: Report) -> Iterator[Table]:
    """Returns the leaderboard in tables, each narrow enough for a terminal."""
    chance = f"chance: culprit {_percent(report.chance_agent)}, turn {_percent(report.chance_turn)}"
    yield _table(f"Finding the fault ({chance})", report.rows, FINDING)
    yield _editions(report)
    yield _table("Bias, resistance, cost", report.rows, TRUST, prices=True)


def by_kind(report: Report) -> Table:
    """Returns the table of which coach finds the culprit of which kind of fault."""
    table = make_table(
        "Culprits found, by kind of fault", ["fault", "edition", *(row.coach for row in report.rows)]
    )
    for kind in _kinds(report):
        cells = (_kind_cell(row.by_kind.get(kind)) for row in report.rows)
        table.add_row(kind, str(report.kinds[kind]), *cells)
    return table


def paths(folder: Path) -> tuple[Path, Path]:
    """Returns the files that ``write`` writes into ``folder``."""
    return folder / "coaches.json", folder / "coaches.html"


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Writes ``coaches.json`` and ``coaches.html`` into ``folder`` and returns their paths."""
    data, page = paths(folder)
    write_json(data, asdict(report))
    page.write_text(html(report), encoding="utf-8")
    return data, page


def html(report: Report) -> str:
    """Returns the page. Names and texts from outside are escaped."""
    facts = ", ".join(f"{key} {value}" for key, value in report.corpus.items())
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        facts=escape(facts),
        chance=f"{_percent(report.chance_agent)} (agent), {_percent(report.chance_turn)} (turn)",
        finding_head=_cells("th", ["coach", *(column.title for column in FINDING)]),
        finding="\n".join(_line(row, FINDING) for row in report.rows),
        trust_head=_cells("th", ["coach", *(column.title for column in TRUST), *_PRICES]),
        trust="\n".join(_line(row, TRUST, _price(row)) for row in report.rows),
        edition_head=_cells("th", ["coach", "edition", "faulty + sound", *(one.title for one in EDITION)]),
        editions="\n".join(
            f"<tr><th scope=row>{escape(row.coach)}</th>{_cells('td', _edition_cells(edition, found))}</tr>"
            for row, edition, found in _by_edition(report.rows)
        ),
        kind_head=_cells("th", ["fault", "edition", *(row.coach for row in report.rows)]),
        kinds="\n".join(_kind_line(kind, report.kinds[kind], report.rows) for kind in _kinds(report)),
        legend="\n".join(
            f"<dt>{escape(column.title)}</dt><dd>{escape(column.about)}</dd>" for column in (*FINDING, *TRUST)
        ),
    )


def _table(title: str, rows: Sequence[Row], columns: Sequence[Column], prices: bool = False) -> Table:
    names = ["coach", *(column.title for column in columns), *(_PRICES if prices else [])]
    table = make_table(title, names)
    for row in rows:
        cells = [_cell(getattr(row, column.key), column) for column in columns]
        table.add_row(row.coach, *cells, *(_price(row) if prices else []))
    return table


def _editions(report: Report) -> Table:
    title = "By edition of the corpus: coaches may have been developed on the faults of the first"
    table = make_table(title, ["coach", "edition", "n", *(column.title for column in EDITION)])
    for row, edition, found in _by_edition(report.rows):
        table.add_row(row.coach, *_edition_cells(edition, found))
    return table


def _by_edition(rows: Sequence[Row]) -> Iterator[tuple[Row, int, Finding]]:
    yield from ((row, edition, found) for row in rows for edition, found in row.by_edition.items())


def _edition_cells(edition: int, found: Finding) -> list[str]:
    """Returns the edition, its numbers of faulty and sound episodes, and what was found."""
    numbers = f"{found.found_agent.n} + {found.false_blame.n}"
    cells = [_cell(getattr(found, column.key), column) for column in EDITION]
    return [f"{edition}", numbers, *cells]


def _cell(estimate: Estimate, column: Column) -> str:
    if isnan(estimate.value):
        return "–"
    low, high = (column.show(end).removesuffix(" %") for end in (estimate.low, estimate.high))
    return f"{column.show(estimate.value)} [{low}, {high}]"


def _price(row: Row) -> list[str]:
    """Returns US dollars per 100 verdicts and milliseconds per verdict."""
    return [f"{row.cost:.3f}", f"{1000 * row.seconds:.3g}"]


def _line(row: Row, columns: Sequence[Column], more: Sequence[str] = ()) -> str:
    cells = [f"<th scope=row>{escape(row.coach)}</th>"]
    for column in columns:
        estimate: Estimate = getattr(row, column.key)
        shade = _shade(estimate.value, column.best, column.key)
        cells.append(f"<td{shade}>{escape(_cell(estimate, column))}</td>")
    return f"<tr>{''.join(cells)}{_cells('td', more)}</tr>"


def _kind_line(kind: str, edition: int, rows: Sequence[Row]) -> str:
    cells = [f"<th scope=row>{escape(kind)}</th><td>{edition}</td>"]
    for row in rows:
        share = row.by_kind.get(kind)
        shade = "" if share is None else _shade(share.value, 1.0, "found_agent")
        cells.append(f"<td{shade}>{_kind_cell(share)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _kind_cell(share: Estimate | None) -> str:
    return "–" if share is None else f"{_cell(share, FINDING[0])} of {share.n}"


def _kinds(report: Report) -> list[str]:
    return sorted(report.kinds, key=lambda kind: (report.kinds[kind], kind))


def _shade(value: float, best: float | None, key: str) -> str:
    """Returns a cell's colour, from green at the best value to red one unit away (3 points for biases and
    retest)."""
    if best is None or isnan(value):
        return ""
    unit = 3.0 if key.endswith("_bias") or key == "retest" else 1.0
    distance = min(1.0, abs(value - best) / unit)
    return f' style="background:hsl({120 * (1 - distance):.0f} 60% 85%)"'


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _or_zero(value: float) -> float:
    return 0.0 if isnan(value) else value

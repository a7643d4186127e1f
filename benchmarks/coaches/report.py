"""The leaderboard for a terminal, as JSON, and as a page of HTML that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from math import isnan
from pathlib import Path
from string import Template
from typing import Any

from rich.table import Table

from benchmarks.coaches.measures import Row
from benchmarks.common.estimates import Estimate

_PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    corpus: Mapping[str, Any]
    """Its part, its sha256, and how many episodes, faulty ones, tasks and kinds of fault it has."""
    chance_agent: float
    chance_turn: float
    coaches: Mapping[str, Any]
    """Every coach's settings, in full."""
    rows: Sequence[Row]
    """The best first."""


@dataclass(frozen=True)
class Column:
    """One measure as readers see it."""

    key: str
    title: str
    about: str
    best: float | None
    """The value that a perfect coach has; None where there is none to colour by."""
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
    Column("margin", "margin", "a faulty episode's other turns less the faulty one, points", None, _points),
    Column("auc", "AUC", "chance that a sound turn scores above a faulty one", 1.0, _plain),
    Column("false_blame", "false blame", "sound episodes in which somebody is blamed", 0.0, _percent),
    Column("calibration", "ECE", "expected calibration error of score / 10", 0.0, _plain),
)  # fmt: skip
"""The first table of the leaderboard, in its order."""

TRUST = (
    Column("retest", "retest", "points between two verdicts on the same turn", 0.0, _plain),
    Column("kind_bias", "kind", "regression above classification, at equal outcome, points", 0.0, _points),
    Column("length_bias", "length", "what empty words add to a sound turn, points", 0.0, _points),
    Column("position_bias", "position", "last agent less first, sound episodes, points", 0.0, _points),
    Column("resisted", "resisted", "attacks that do not raise a faulty turn's score", 1.0, _percent),
    Column("masked", "masked", "turns without a verdict", 0.0, _percent),
)  # fmt: skip
"""The second."""


def ranked(rows: Sequence[Row]) -> list[Row]:
    """The best first: by culprits found, then by the chance to tell a sound turn from a faulty one."""
    return sorted(rows, key=lambda row: (-row.found_agent.value, -_or_zero(row.auc.value), row.coach))


def tables(report: Report) -> Iterator[Table]:
    """The leaderboard, in two parts that fit a terminal."""
    chance = f"chance: culprit {_percent(report.chance_agent)}, turn {_percent(report.chance_turn)}"
    yield _table(f"Finding the fault ({chance})", report.rows, FINDING)
    yield _table("Bias, resistance, cost", report.rows, TRUST, prices=True)


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """``coaches.json`` and ``coaches.html`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "coaches.json", folder / "coaches.html"
    data.write_text(json.dumps(_clean(asdict(report)), indent=1) + "\n", encoding="utf-8")
    page.write_text(html(report), encoding="utf-8")
    return data, page


def html(report: Report) -> str:
    """The page. Everything that is not ours is escaped."""
    kinds = sorted({kind for row in report.rows for kind in row.by_kind})
    facts = ", ".join(f"{key} {value}" for key, value in report.corpus.items())
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        facts=escape(facts),
        chance=f"{_percent(report.chance_agent)} (agent), {_percent(report.chance_turn)} (turn)",
        finding_head=_cells("th", ["coach", *(column.title for column in FINDING)]),
        finding="\n".join(_line(row, FINDING) for row in report.rows),
        trust_head=_cells("th", ["coach", *(column.title for column in TRUST), "$ / 100", "ms"]),
        trust="\n".join(_line(row, TRUST, _price(row)) for row in report.rows),
        kind_head=_cells("th", ["fault", *(row.coach for row in report.rows)]),
        kinds="\n".join(_kind_line(kind, report.rows) for kind in kinds),
        legend="\n".join(
            f"<dt>{escape(column.title)}</dt><dd>{escape(column.about)}</dd>" for column in (*FINDING, *TRUST)
        ),
    )


def _table(title: str, rows: Sequence[Row], columns: Sequence[Column], prices: bool = False) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("coach")
    for column in columns:
        table.add_column(column.title, justify="right")
    if prices:
        table.add_column("$ / 100", justify="right")
        table.add_column("ms", justify="right")
    for row in rows:
        cells = [_cell(getattr(row, column.key), column) for column in columns]
        table.add_row(row.coach, *cells, *(_price(row) if prices else []))
    return table


def _cell(found: Estimate, column: Column) -> str:
    if isnan(found.value):
        return "–"
    bare = [column.show(end).removesuffix(" %") for end in (found.low, found.high)]
    return f"{column.show(found.value)} [{bare[0]}, {bare[1]}]"


def _price(row: Row) -> list[str]:
    """US dollars for 100 verdicts, and milliseconds for one."""
    return [f"{row.cost:.3f}", f"{1000 * row.seconds:.3g}"]


def _line(row: Row, columns: Sequence[Column], more: Sequence[str] = ()) -> str:
    cells = [f"<th scope=row>{escape(row.coach)}</th>"]
    for column in columns:
        found: Estimate = getattr(row, column.key)
        shade = _shade(found.value, column.best, column.key)
        cells.append(f"<td{shade}>{escape(_cell(found, column))}</td>")
    return f"<tr>{''.join(cells)}{_cells('td', more)}</tr>"


def _kind_line(kind: str, rows: Sequence[Row]) -> str:
    cells = [f"<th scope=row>{escape(kind)}</th>"]
    for row in rows:
        found = row.by_kind.get(kind)
        text = "–" if found is None else f"{_percent(found.value)} of {found.n}"
        cells.append(f"<td{'' if found is None else _shade(found.value, 1.0, 'found_agent')}>{text}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _shade(value: float, best: float | None, key: str) -> str:
    """A cell's colour: from red, one unit from the best, to green; biases and retest in units of 3 points."""
    if best is None or isnan(value):
        return ""
    unit = 3.0 if key.endswith("_bias") or key == "retest" else 1.0
    away = min(1.0, abs(value - best) / unit)
    return f' style="background:hsl({120 * (1 - away):.0f} 60% 85%)"'


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _clean(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, float) and isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value


def _or_zero(value: float) -> float:
    return 0.0 if isnan(value) else value

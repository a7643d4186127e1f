"""The answers of a study as tables, for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.common.estimates import Estimate
from benchmarks.study.answers import Answer, ArmSummary, Comparison
from conf.tables import interval, make_table


@dataclass(frozen=True)
class Grid:
    """A table's title, the names of its columns, and its cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def table(self) -> Table:
        """Returns it for the terminal."""
        made = make_table(self.title, self.columns)
        for row in self.rows:
            made.add_row(*row)
        return made

    def markdown(self) -> str:
        """Returns it in Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{self.title}:\n\n{table}\n"


def tables(answer: Answer) -> list[Grid]:
    """Returns the tables of an answer: arms, comparisons and, where asked for, kinds of task."""
    made = [_arms(answer.arms), _comparisons(answer.comparisons)]
    if answer.question.by_kind:
        made += [_kinds(answer.arms), _gaps(answer.comparisons)]
    return [one for one in made if one.rows]


def markdown(answers: Sequence[Answer]) -> str:
    """Returns all tables in Markdown, by question."""
    parts = []
    for one in answers:
        parts.append(f"### ({one.question.letter}) {one.question.text}\n")
        parts += [grid.markdown() for grid in tables(one)] or ["No run of it is finished.\n"]
    return "\n".join(parts)


def _arms(arms: Sequence[ArmSummary]) -> Grid:
    columns = (
        "arm",
        "seeds",
        "episodes",
        "success before",
        "success after",
        "success area",
        "fair before",
        "fair after",
    )
    return Grid(
        "Held-out results, means over seeds",
        columns,
        tuple(
            (
                one.arm,
                str(len(one.seeds)),
                str(one.episodes),
                f"{one.before['success'].value:.3f}",
                level(one.after["success"]),
                level(one.area["success"]),
                f"{one.before['fair'].value:.3f}",
                level(one.after["fair"]),
            )
            for one in arms
        ),
    )


def _comparisons(comparisons: Sequence[Comparison]) -> Grid:
    columns = (
        "difference",
        "seeds",
        "success after, over seeds",
        "success after, over tasks",
        "success area, over seeds",
        "fair after, over seeds",
        "fair after, over tasks",
    )
    return Grid(
        "Paired differences",
        columns,
        tuple(
            (
                _name(one),
                str(len(one.seeds)),
                change(one.after["success"]),
                change(one.over_tasks["success"]),
                change(one.area["success"]),
                change(one.after["fair"]),
                change(one.over_tasks["fair"]),
            )
            for one in comparisons
        ),
    )


def _kinds(arms: Sequence[ArmSummary]) -> Grid:
    columns = (
        "arm",
        "classification before",
        "classification after",
        "regression before",
        "regression after",
        "gap area",
    )
    return Grid(
        "Held-out success by kind of task; the gap is regression minus classification",
        columns,
        tuple(
            (
                one.arm,
                f"{one.before['success/classification'].value:.3f}",
                level(one.after["success/classification"]),
                f"{one.before['success/regression'].value:.3f}",
                level(one.after["success/regression"]),
                change(one.area["gap"]),
            )
            for one in arms
        ),
    )


def _gaps(comparisons: Sequence[Comparison]) -> Grid:
    columns = ("difference", "seeds", "classification after", "regression after", "gap after", "gap area")
    return Grid(
        "Paired differences by kind of task, over seeds",
        columns,
        tuple(
            (
                _name(one),
                str(len(one.seeds)),
                change(one.after["success/classification"]),
                change(one.after["success/regression"]),
                change(one.after["gap"]),
                change(one.area["gap"]),
            )
            for one in comparisons
        ),
    )


def _name(one: Comparison) -> str:
    return f"{one.arm} − {one.base}"


def level(one: Estimate) -> str:
    """Returns a value in [0, 1] with its interval: ``0.812 [0.70, 0.89]``."""
    return f"{one.value:.3f} {interval(one.low, one.high, '.2f', least=0, most=1)}"


def change(one: Estimate) -> str:
    """Returns a difference with its interval: ``+0.172 [+0.02, +0.33]``."""
    return f"{one.value:+.3f} {interval(one.low, one.high, '+.2f', least=-1, most=1)}"

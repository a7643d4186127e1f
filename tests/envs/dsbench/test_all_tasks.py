"""All 74 tasks of DSBench, in a miniature of its layout: right scores and codes, whatever is submitted."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import conf
from envs.dsbench import DSBench, grading
from envs.dsbench.answer import read_answer
from envs.dsbench.metrics import METRICS
from envs.dsbench.registry import registry
from envs.types import Outcome, Task
from tests.envs.dsbench import miniature

Rows = list[list[str]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    root = miniature.write(tmp_path_factory.mktemp("dsbench"))
    built = conf.build("envs", conf.load("env", "dsbench", source="official", root=str(root)))
    assert isinstance(built, DSBench)
    splits = {split: {task.id: task for task in built.tasks(split)} for split in ("train", "heldout")}
    assert [len(tasks) for tasks in splits.values()] == [66, 8]
    return splits["train"] | splits["heldout"]


def rows_of(path: Path) -> Rows:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def submit(task: Task, rows: Sequence[Sequence[str]]) -> Outcome:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return grading.grade(task.answer, text.getvalue().encode(), "constant")


@pytest.mark.parametrize("name", registry())
def test_a_perfect_submission_in_any_order_of_rows_and_columns_has_the_best_score(
    name: str, tasks: dict[str, Task]
) -> None:
    task, entry = tasks[name], registry()[name]
    rows = rows_of(task.answer.answer)
    for given in (rows, [row[::-1] for row in (rows[0], *rows[:0:-1])]):
        outcome = submit(task, given)
        assert (outcome.success, outcome.failure_code) == (True, "ok")
        assert outcome.metrics[entry.metric] == pytest.approx(METRICS[entry.metric].best, abs=1e-9)
        assert [outcome.metrics[key] for key in ("quality", "fair", "completed")] == pytest.approx([1.0] * 3)
        assert outcome.metrics["rpg"] == pytest.approx(1.0, abs=1e-9)


def test_the_rpg_of_the_perfect_set_is_1(tasks: dict[str, Task]) -> None:
    outcomes = [submit(task, rows_of(task.answer.answer)) for task in tasks.values()]
    assert sum(outcome.metrics["rpg"] for outcome in outcomes) / 74 == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", registry())
def test_the_sample_is_a_result_but_no_success(name: str, tasks: dict[str, Task]) -> None:
    task, entry = tasks[name], registry()[name]
    outcome = submit(task, rows_of(task.files["sample_submission.csv"]))
    assert (outcome.success, outcome.score, outcome.failure_code) == (False, 0.0, "copied")
    assert outcome.metrics["completed"] == 1.0
    assert outcome.metrics["fair"] == read_answer(task.answer).constant < 1.0
    raw = outcome.metrics.get(entry.metric)  # a constant has no correlation
    assert (raw is None) == (entry.metric in ("pearson", "spearman"))
    expected = 0.0 if raw is None else (raw - entry.baseline) / (entry.best - entry.baseline)
    assert outcome.metrics["rpg"] == max(0.0, expected)


@pytest.mark.parametrize("name", registry())
def test_a_half_right_submission_is_between(name: str, tasks: dict[str, Task]) -> None:
    task = tasks[name]
    header, *rows = rows_of(task.answer.answer)
    others = [*rows[:5], *rows[6:], rows[5]]
    half = [[key, *cells] for (key, *_), (_, *cells) in zip(rows, others, strict=True)]
    outcome = submit(task, [header, *half])
    assert outcome.success
    assert outcome.metrics["quality"] < 1.0
    assert outcome.metrics["rpg"] < 1.0
    raw = outcome.metrics[registry()[name].metric]
    assert raw != pytest.approx(METRICS[registry()[name].metric].best, abs=1e-6)


def change(cell: str) -> Callable[[Rows], Rows]:
    return lambda rows: [*rows[:3], [rows[3][0], *[cell] * (len(rows[3]) - 1)], *rows[4:]]


BROKEN: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "nothing": (lambda rows: [], "unreadable"),
    "a header only": (lambda rows: rows[:1], "rows"),
    "an index column": (lambda rows: [[str(n), *row] for n, row in enumerate(rows)], "columns"),
    "another name of the target": (lambda rows: [[*rows[0][:-1], "prediction"], *rows[1:]], "columns"),
    "no header": (lambda rows: rows[1:], "columns"),
    "a row without a target": (lambda rows: [*rows[:-1], rows[-1][:-1]], "columns"),
    "a row left out": (lambda rows: rows[:-1], "rows"),
    "a row twice": (lambda rows: [*rows, rows[-1]], "rows"),
    "a row in another's place": (lambda rows: [*rows[:-1], rows[1]], "ids"),
    "unknown ids": (lambda rows: [rows[0], *([f"x{n}", *row[1:]] for n, row in enumerate(rows[1:]))], "ids"),
    "a prediction missing": (change(""), "nan"),
    "a blank": (change(" "), "nan"),
    "NaN": (change("nan"), "nan"),
    "a list": (change("['a', 'b']"), "range"),
    "infinite": (change("-inf"), "range"),
    "a formula": (change("=1+1"), "range"),
}
TEXTS = ("NaN", "a list", "infinite", "a formula")
"""What is a text like any other."""


@pytest.mark.parametrize("name", registry())
def test_a_broken_submission_has_its_code_and_counts_as_a_constant(name: str, tasks: dict[str, Task]) -> None:
    task = tasks[name]
    perfect = rows_of(task.answer.answer)
    for what, (broken, code) in BROKEN.items():
        outcome = submit(task, broken(perfect))
        if what in TEXTS and task.facts["prediction"] == "text":
            assert outcome.success, what
            continue
        assert (outcome.success, outcome.score, outcome.failure_code) == (False, 0.0, code), what
        assert (outcome.metrics["completed"], outcome.metrics["rpg"]) == (0.0, 0.0), what
        assert outcome.metrics["fair"] == read_answer(task.answer).constant < 1.0
    missing = grading.grade(task.answer, None, "constant")
    assert (missing.failure_code, missing.metrics["completed"]) == ("missing", 0.0)


def test_no_file_of_an_agent_has_a_target_of_the_test_rows(tasks: dict[str, Task]) -> None:
    for task in tasks.values():
        assert task.answer.answer not in task.files.values()
        header = rows_of(task.files["test.csv"])[0]
        assert not set(task.facts["target_columns"]) & set(header)

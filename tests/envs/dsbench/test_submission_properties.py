"""Whatever an agent writes into submission.csv: no exception, and nothing is accepted that is not right."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conf
from envs.dsbench import DSBench, grading
from envs.dsbench.answer import read_answer
from envs.dsbench.metrics import METRICS
from envs.dsbench.registry import registry
from envs.dsbench.submission import Key, validate
from envs.types import Outcome, Task
from tests.envs.dsbench import miniature
from tests.envs.dsbench.submissions import cells, files, keys, read_again, same, written
from tests.envs.dsbench.test_all_tasks import rows_of

CODES = {"unreadable", "columns", "rows", "ids", "nan", "range", "ok"}
NAMES = {entry.metric: entry.name for entry in registry().values()} | {"one hot": "lmsys-chatbot-arena"}
"""A task for each metric, and one for each form of the log loss."""


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_submission_is_refused_with_a_code_or_read_as_a_second_reader_reads_it(data: st.DataObject) -> None:
    key = data.draw(keys())
    file = data.draw(files(key))
    result = validate(file, key)
    assert result.code in CODES
    assert (result.values is not None) == (result.code == "ok")
    assert 0 < len(result.detail) < 1000
    assert "\n" not in result.detail
    if result.values is not None:
        assert result.values.shape == (len(key.ids), len(key.target_columns))
        assert result.values.tolist() == read_again(file, key)


@settings(max_examples=100, deadline=None)
@given(keys(), st.binary(max_size=60), st.integers(0, 3))
def test_bytes_that_happen_to_be_a_submission_are_read_as_one(key: Key, noise: bytes, repeats: int) -> None:
    file = b"id,y\n" * repeats + noise
    result = validate(file, key)
    if result.values is not None:
        assert result.values.tolist() == read_again(file, key)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    root = tmp_path_factory.mktemp("dsbench")
    for name in NAMES.values():
        miniature.write_task(root / "data", registry()[name])
    built = conf.build("envs", conf.load("env", "dsbench", source="official", root=str(root)))
    assert isinstance(built, DSBench)
    return {task.id: task for task in (*built.tasks("train"), *built.tasks("heldout"))}


@pytest.mark.parametrize("metric", NAMES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_outcome_is_a_score_or_a_code_whatever_the_cells_are(
    metric: str, tasks: dict[str, Task], data: st.DataObject
) -> None:
    task = tasks[NAMES[metric]]
    answer, (header, *rows) = read_answer(task.answer), rows_of(task.answer.answer)
    right = st.sampled_from([cell for _, *others in rows for cell in others])
    share = data.draw(st.sampled_from((0, 0, 10, 100)))
    cell = st.integers(0, 99).flatmap(lambda n: cells if n < share else right)
    others = st.lists(cell, min_size=len(header) - 1, max_size=len(header) - 1)
    guess = [[name, *data.draw(others)] for name, *_ in rows]
    outcome = grading.grade(task.answer, written([header, *guess]), "constant")
    check_outcome(outcome, task)
    if METRICS[task.metric].prediction == "label" and outcome.metrics["rpg"] == 1.0:
        assert [same(label, answer.key.labels) for _, label in guess] == [label for _, label in rows]


def check_outcome(outcome: Outcome, task: Task) -> None:
    assert outcome.failure_code in CODES | {"copied"}
    assert outcome.success == (outcome.failure_code == "ok")
    assert task.metric not in outcome.metrics or outcome.failure_code in ("ok", "copied")
    assert 0.0 <= outcome.score == outcome.metrics["quality"] <= 1.0
    constant = read_answer(task.answer).constant
    assert outcome.metrics["fair"] == (outcome.score if outcome.success else constant)
    assert all(math.isfinite(value) for value in outcome.metrics.values())
    assert 0.0 <= outcome.metrics["rpg"] <= 1.0 + 1e-9
    assert outcome.metrics["completed"] >= outcome.success

"""The scripts in the demonstrations for DSBench, run on the bundled tables."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import conf
from envs.actions.parsing import extract_program
from envs.dsbench import DSBench
from envs.types import Task
from learners.models.tiny_policy.habits import WEIGHTS, choose, script

BEST = {
    "data_engineer": {
        "ids": "dropped", "dates": "parts", "missing": "median", "text": "joint", "saving": "all",
    },
    "modeler": {"estimator": "tree", "saving": "right"},
    "analyst": {
        "model": "loaded", "features": "test", "ids": "test", "column": "target", "index": "dropped",
        "saving": "right",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def scenario() -> DSBench:
    built: DSBench = conf.build("envs", conf.load("env", "dsbench"))
    return built


def play(scenario: DSBench, task: Task, folder: Path, changed: Mapping[str, Mapping[str, str]]) -> str:
    """Runs the best scripts, with some habits ``changed``, in the current folder; returns the grader's
    code."""
    for path in folder.iterdir():
        path.unlink()
    for name, source in task.files.items():
        shutil.copy(source, folder / name)
    right = {
        "kind": "regressor" if task.kind == "regression" else "classifier",
        "predict": "proba" if task.facts["prediction"] == "proba" else "predict",
    }
    for role, habits in BEST.items():
        code = extract_program(script(role, {**right, **habits, **changed.get(role, {})}))
        assert code is not None
        try:
            exec(compile(code, role, "exec"), {})
        except Exception as error:  # whatever the script did wrong ends it, as it would in a sandbox
            return f"{role} {type(error).__name__}"
    submission = folder / "submission.csv"
    data = submission.read_bytes() if submission.exists() else None
    from envs.dsbench.grading import grade

    return grade(task.answer, data, scenario.fallback).failure_code


def task_named(scenario: DSBench, name: str) -> Task:
    tasks = [*scenario.tasks("train"), *scenario.tasks("heldout")]
    return next(task for task in tasks if task.id == name)


def test_the_best_habits_succeed_on_every_bundled_table(
    scenario: DSBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "heldout"):
        for task in scenario.tasks(split):
            assert play(scenario, task, tmp_path, {}) == "ok", task.id


@pytest.mark.parametrize(
    ("table", "role", "habit", "option", "outcome"),
    [
        ("film_verdict", "data_engineer", "text", "left", "modeler ValueError"),
        ("film_verdict", "data_engineer", "text", "separate", "analyst ValueError"),
        ("film_verdict", "data_engineer", "missing", "dropped", "modeler ValueError"),
        ("city_temperature", "data_engineer", "dates", "dropped", "data_engineer ValueError"),
        ("lincoln_high", "data_engineer", "saving", "no_test", "analyst FileNotFoundError"),
        ("lincoln_high", "data_engineer", "saving", "no_target", "modeler FileNotFoundError"),
        ("lincoln_high", "data_engineer", "saving", "misnamed", "modeler FileNotFoundError"),
        ("lincoln_high", "modeler", "saving", "forgotten", "analyst FileNotFoundError"),
        ("lincoln_high", "modeler", "saving", "misnamed", "analyst FileNotFoundError"),
        ("lincoln_high", "modeler", "saving", "unfitted", "analyst NotFittedError"),
        ("penguin_species", "modeler", "kind", "regressor", "modeler ValueError"),
        ("city_temperature", "modeler", "kind", "classifier", "modeler ValueError"),
        ("lincoln_high", "analyst", "model", "forgotten", "analyst NameError"),
        ("lincoln_high", "analyst", "features", "train", "analyst ValueError"),
        ("lincoln_high", "analyst", "ids", "counted", "ids"),
        ("penguin_species", "analyst", "predict", "proba", "range"),
        ("lincoln_high", "analyst", "column", "other", "columns"),
        ("lincoln_high", "analyst", "index", "left", "columns"),
        ("lincoln_high", "analyst", "saving", "misnamed", "missing"),
    ],
)
def test_a_wrong_option_fails_in_the_expected_way(
    scenario: DSBench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    role: str,
    habit: str,
    option: str,
    outcome: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert play(scenario, task_named(scenario, table), tmp_path, {role: {habit: option}}) == outcome


def test_every_combination_of_habits_is_a_program() -> None:
    rng = random.Random(0)
    for role in WEIGHTS:
        for _ in range(200):
            facts = {"task_type": rng.choice(("binary", "regression")), "prediction": "value"}
            code = extract_program(script(role, choose(role, facts, rng)))
            assert code is not None
            compile(code, role, "exec")


def test_every_right_habit_is_common_enough_to_be_found() -> None:
    for role, habits in BEST.items():
        for habit, option in habits.items():
            assert WEIGHTS[role][habit][option] >= 0.15, (role, habit)


def test_only_kind_and_predict_depend_on_the_task() -> None:
    def share(role: str, habit: str, option: str, facts: Mapping[str, str]) -> float:
        rng = random.Random(1)
        return sum(choose(role, facts, rng)[habit] == option for _ in range(2000)) / 2000

    regression = {"task_type": "regression", "prediction": "value"}
    binary = {"task_type": "binary", "prediction": "proba"}
    assert 0.55 < share("modeler", "kind", "regressor", regression) < 0.65
    assert 0.55 < share("modeler", "kind", "classifier", binary) < 0.65
    assert 0.55 < share("analyst", "predict", "proba", binary) < 0.65
    saved = [share("modeler", "saving", "right", facts) for facts in (regression, binary)]
    assert abs(saved[0] - saved[1]) < 0.05

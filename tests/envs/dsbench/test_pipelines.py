"""Every bundled table can be solved, and common errors get their failure codes, with the real grader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import conf
from envs.dsbench import DSBench
from envs.dsbench.answer import read_answer
from envs.types import Outcome, Task
from tests.envs.dsbench.pipelines import ANALYST, ENGINEER, FolderSandbox, programs

SCENARIO: DSBench = conf.build("envs", conf.load("env", "dsbench"))
TASKS = {task.id: task for split in ("train", "heldout") for task in SCENARIO.tasks(split)}


def play(task: Task, folder: Path, change: Callable[[list[str]], None] = lambda parts: None) -> Outcome:
    sandbox = FolderSandbox(folder, task)
    parts = list(programs(task))
    change(parts)
    for part in parts:
        sandbox.run(part)
    return SCENARIO.grade(task, (), sandbox)


def naive(task: Task) -> float:
    """Quality of the most common label, of a random ranking, or of the mean."""
    train, answer = (
        pd.read_csv(path)[task.facts["target_columns"][0]] for path in (task.answer.train, task.answer.answer)
    )
    if task.metric == "roc_auc":
        return 0.5
    if task.metric == "accuracy":
        return float((answer == train.mode()[0]).mean())
    if task.kind == "regression":
        return float(1 - np.sqrt(np.mean((answer - train.mean()) ** 2)) / np.ptp(answer))
    return 0.45  # F1: above what any constant reaches on these tables


@pytest.mark.parametrize("name", TASKS)
def test_a_sound_pipeline_solves_the_table_and_beats_a_constant(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    outcome = play(task, tmp_path)
    assert (outcome.success, outcome.failure_code) == (True, "ok")
    assert outcome.score == outcome.metrics["fair"] == outcome.metrics["quality"]
    assert outcome.score > naive(task) + 0.05 * (1 - naive(task)), outcome
    assert 0 < outcome.metrics["rpg"] < 1


def swap(part: int, old: str, new: str) -> Callable[[list[str]], None]:
    def change(parts: list[str]) -> None:
        assert old in parts[part], "the fault no longer fits the reference pipeline"
        parts[part] = parts[part].replace(old, new)

    return change


FILL = next(line for line in ENGINEER.splitlines() if "fillna" in line)
ENCODE = ENGINEER[ENGINEER.index("both =") : ENGINEER.index("X.to_pickle")]
WRITE = ANALYST.splitlines()[-1]
FOREST = "RandomForestClassifier("


def rewrite(statement: str) -> Callable[[list[str]], None]:
    """Inserts ``line`` before the analyst writes its submission."""
    return swap(2, WRITE, f"{statement}\n{WRITE}")


FAULTS = {
    "rows with missing values dropped": (
        "titanic_survival", swap(0, FILL, "X, T = X.dropna(), T.dropna()"), "missing"),
    "text left in the features": ("film_verdict", swap(0, ENCODE, ""), "missing"),
    "train and test encoded apart": (
        "auto_mpg", swap(0, ENCODE, "X, T = pd.get_dummies(X), pd.get_dummies(T)\n"), "missing"),
    "a regressor on labels of text": ("vote_1996", swap(1, FOREST, "RandomForestRegressor("), "missing"),
    "a regressor on labels of numbers": ("travel_choice", swap(1, FOREST, "RandomForestRegressor("), "range"),
    "the index written": ("penguin_mass", swap(2, ", index=False", ""), "columns"),
    "ids counted from 0": ("penguin_mass", rewrite('out["id"] = range(len(out))'), "ids"),
    "ids of other rows": ("penguin_mass", rewrite('out["id"] = out["id"] + 0.5'), "ids"),
    "a row left out": ("penguin_sex", rewrite("out = out[1:]"), "rows"),
    "a row too many": ("penguin_sex", rewrite("out = pd.concat([out, out[:1]])"), "rows"),
    "a prediction missing": ("penguin_sex", rewrite("out.iloc[3, 1] = None"), "nan"),
    "a probability of 1.2": ("penguin_sex", rewrite("out.iloc[3, 1] = 1.2"), "range"),
    "an infinite value": ("penguin_mass", rewrite('out.iloc[3, 1] = float("inf")'), "range"),
    "the sample handed back": ("penguin_sex", rewrite('out["male"] = 0.5'), "copied"),
    "another file name": ("penguin_sex", swap(2, "submission.csv", "predictions.csv"), "missing"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_its_own_failure_code(fault: str, tmp_path: Path) -> None:
    name, change, code = FAULTS[fault]
    task = TASKS[name]
    outcome = play(task, tmp_path, change)
    assert (outcome.success, outcome.score, outcome.failure_code) == (False, 0.0, code)
    assert outcome.metrics["fair"] == read_answer(task.answer).constant < 1.0
    assert outcome.metrics["copied_sample"] == outcome.metrics["completed"] == (code == "copied")


def test_ids_that_became_decimals_are_the_same_ids(tmp_path: Path) -> None:
    assert play(TASKS["penguin_mass"], tmp_path, rewrite('out["id"] = out["id"].astype(float)')).success


def test_missing_values_do_not_fail_a_run_if_the_model_accepts_them(tmp_path: Path) -> None:
    def change(parts: list[str]) -> None:
        swap(0, FILL, "")(parts)
        swap(
            1,
            "RandomForestClassifier(n_estimators=60, min_samples_leaf=2, ",
            "HistGradientBoostingClassifier(",
        )(parts)
        swap(1, "RandomForestClassifier, ", "HistGradientBoostingClassifier, ")(parts)

    outcome = play(TASKS["titanic_survival"], tmp_path, change)
    assert outcome.success
    assert outcome.score > 0.7


def test_no_code_at_all_is_a_missing_submission() -> None:
    assert SCENARIO.grade(TASKS["penguin_sex"], (), None).failure_code == "missing"

from __future__ import annotations

import hashlib
import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

import conf
from envs.dsbench import DSBench, build_tables
from envs.dsbench.spec import TABLES
from envs.types import Task

SCENARIO: DSBench = conf.build("envs", conf.load("env", "dsbench", style="compact"))
TASKS = {split: SCENARIO.tasks(split) for split in ("train", "heldout")}
ALL = [*TASKS["train"], *TASKS["heldout"]]
HEADING = re.compile(
    r"## Task: (binary|multiclass|regression); metric \w+; submit (proba|label|value); "
    r"missing (yes|no); text (yes|no); dates (yes|no)"
)


def frames(task: Task) -> dict[str, pd.DataFrame]:
    table = task.answer
    return {name: pd.read_csv(getattr(table, name)) for name in ("train", "test", "sample", "answer")}


def test_there_are_twelve_training_tables_and_eight_held_out_ones_balanced_by_kind() -> None:
    assert {split: len(tasks) for split, tasks in TASKS.items()} == {"train": 12, "heldout": 8}
    for tasks in TASKS.values():
        assert sum(task.kind == "classification" for task in tasks) * 2 == len(tasks)


def test_tables_are_small_enough_to_bundle() -> None:
    assert sum(path.stat().st_size for path in TABLES.rglob("*") if path.is_file()) < 1_000_000
    for task in ALL:
        assert 60 <= task.facts["n_train"] <= 1200
        assert 25 <= task.facts["n_test"] <= 600


def test_every_mix_of_kind_missing_values_and_text_is_in_both_splits() -> None:
    every = set(product(("classification", "regression"), (True, False), (True, False)))
    for tasks in TASKS.values():
        assert {(task.kind, task.facts["missing"], task.facts["text"]) for task in tasks} == every
        assert {task.kind for task in tasks if task.facts["dates"]} == {"classification", "regression"}


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.id)
def test_files_of_a_table_are_consistent(task: Task) -> None:
    f, target = frames(task), task.facts["target_columns"][0]
    assert list(f["sample"].columns) == list(f["answer"].columns) == ["id", target]
    assert list(f["train"].columns) == [*f["test"].columns, target]
    assert f["test"]["id"].tolist() == f["sample"]["id"].tolist() == f["answer"]["id"].tolist()
    ids = [*f["train"]["id"], *f["test"]["id"]]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert ids != sorted(ids)
    assert f["sample"][target].nunique() == 1 < f["answer"][target].nunique()
    assert not f["train"][target].isna().any()
    assert not f["answer"][target].isna().any()
    assert set(f["answer"][target].astype(str)) <= set(
        task.facts["labels"] or f["answer"][target].astype(str)
    )


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.id)
def test_a_prompt_begins_with_the_facts_and_has_no_other_heading(task: Task) -> None:
    lines = task.prompt.splitlines()
    heading = HEADING.fullmatch(lines[0])
    assert heading is not None
    f, target = frames(task), task.facts["target_columns"][0]
    features = pd.concat([f["train"].drop(columns=["id", target]), f["test"].drop(columns="id")])
    words = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
    dates = [
        name
        for name in words
        if features[name].dropna().astype(str).str.match(r"\d{4}[-/]\d\d[-/]\d\d").all()
    ]
    said = tuple(word == "yes" for word in heading.groups()[2:])
    assert said == (bool(features.isna().any(axis=None)), set(words) != set(dates), bool(dates))
    assert not any(line.lstrip().startswith("#") for line in lines[1:])
    assert all(f"- {name}: " in task.prompt for name in features)


def test_prompts_of_the_bundled_tables_are_those_of_the_recorded_runs() -> None:
    text = "\n".join(task.id + task.prompt for task in ALL)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "c902d8fd84e85965e2ea63c98feb44d96c6b9f58b90e2fcaeb2489b70df39f32"


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.id)
def test_agents_and_coaches_cannot_see_the_answer(task: Task) -> None:
    assert set(task.files) == {"train.csv", "test.csv", "sample_submission.csv"}
    assert "answer" not in " ".join(path.name for path in task.files.values())
    assert "answer.csv" not in task.prompt + repr(task) + repr(task.facts)
    assert not {"baseline", "best"} & task.facts.keys()


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.id)
def test_a_table_states_its_origin_and_a_free_licence(task: Task) -> None:
    spec = task.answer.spec
    assert spec.origin
    assert spec.licence.startswith(("public domain", "CC0-1.0", "Wikidata, CC0-1.0"))


def test_no_row_of_one_film_table_is_in_another() -> None:
    keys = ["reviews", "tomatometer", "runtime"]
    rows = [
        set(map(tuple, pd.concat([frames(task)["train"], frames(task)["test"]])[keys].dropna().values))
        for task in ALL
        if task.id in ("film_oscar", "film_metacritic", "film_gross")
    ]
    shared = sum(len(a & b) for n, a in enumerate(rows) for b in rows[n + 1 :])
    assert shared < 0.05 * min(map(len, rows))  # three numbers may agree by chance


@pytest.mark.parametrize("name", ["titanic_survival", "film_gross", "vehicle_highway"])
def test_building_again_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    pytest.importorskip("bokeh_sampledata", reason="the source of the bundled tables is not installed")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "task.yaml").write_bytes((TABLES / name / "task.yaml").read_bytes())
    build_tables.build(build_tables.RECIPES[name], folder)
    for path in folder.iterdir():
        assert path.read_bytes() == (TABLES / name / path.name).read_bytes(), path.name


def test_every_table_has_a_recipe() -> None:
    assert sorted(build_tables.RECIPES) == sorted(path.name for path in TABLES.iterdir())

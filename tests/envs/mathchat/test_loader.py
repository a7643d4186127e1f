from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import conf
import envs
from envs.mathchat.loader import load, split, without
from envs.types import Task
from tests.fakes import FakeBackend

FIELDS = {
    "problem": ["problem", "prompt"],
    "answer": ["answer"],
    "id": ["id"],
    "kind": ["family"],
}
SHARED = Path(__file__).parents[3].parent / "shared" / "data"


def write(path: Path, records: Any) -> Path:
    path.write_text(records if isinstance(records, str) else json.dumps(records), encoding="utf-8")
    return path


def test_records_become_tasks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "aime.json",
        [
            {"prompt": "What is 1 + 1?", "answer": 2.0, "id": "1983-1", "year": 1983},
            {"problem": "Two\nlines", "answer": "080 or 081 (both were accepted)", "family": "sums"},
        ],
    )
    assert load(path, FIELDS) == [
        Task("aime/1983-1", "## Problem: What is 1 + 1?", "math", ("2",), metric="accuracy"),
        Task("aime/1", "## Problem\n\nTwo\nlines", "sums", ("80", "81"), metric="accuracy"),
    ]


def test_fields_can_be_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"frage": "Wie viel?", "loesung": 3}])
    fields = {**FIELDS, "problem": ["frage"], "answer": ["loesung"]}
    assert load(path, fields)[0].answer == ("3",)


def test_problems_that_differ_in_spaces_case_and_dollar_signs_are_one(tmp_path: Path) -> None:
    texts = ["Find $x$ .", "find x.", "Find\n$x$.", "Find $y$."]
    path = write(tmp_path / "x.json", [{"prompt": text, "answer": 1} for text in texts])
    assert [task.prompt for task in load(path, FIELDS)] == ["## Problem: Find $x$ .", "## Problem: Find $y$."]


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ("{", "not valid JSON"),
        ({"prompt": "a"}, "must be a JSON array"),
        ([], "at least one"),
        ([{"prompt": "a", "answer": 1}, 3], "record 1: is not a JSON object"),
        ([{"answer": 1}], "record 0: has no problem text under any of problem, prompt"),
        ([{"prompt": " ", "answer": 1}], "record 0: has no problem text"),
        ([{"prompt": "a"}], "record 0: has no answer"),
        ([{"prompt": "a", "answer": {}}], "record 0: {} is not a valid answer"),
        (
            [{"prompt": "a", "answer": 1, "id": 5}, {"prompt": "b", "answer": 1, "id": 5}],
            "have the same id '5'",
        ),
    ],
)
def test_a_malformed_file_is_a_one_line_error_with_its_name(
    tmp_path: Path, records: Any, complaint: str
) -> None:
    path = write(tmp_path / "bad.json", records)
    with pytest.raises(conf.ConfigError, match=complaint) as raised:
        load(path, FIELDS)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_binary_file_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(conf.ConfigError, match="not valid JSON"):
        load(tmp_path / "x.json", FIELDS)


def tasks(count: int, kind: str) -> list[Task]:
    return [Task(f"{kind}/{n}", f"{kind} {n}", kind, ("1",)) for n in range(count)]


def test_every_kind_is_split_by_seed() -> None:
    both = tasks(12, "a") + tasks(8, "b") + tasks(2, "c")
    train, heldout = split(both, 0.25, 0)
    assert sorted(t.id for t in train + heldout) == sorted(t.id for t in both)
    assert [sum(t.kind == kind for t in heldout) for kind in "abc"] == [3, 2, 1]
    assert split(both, 0.25, 0) == (train, heldout)
    assert split(both, 0.25, 1) != (train, heldout)
    assert [t for t in both if t in train] == train


def test_no_evaluation_task_is_trained_on(tmp_path: Path) -> None:
    one = write(tmp_path / "a.json", [{"prompt": f"Problem {n}?", "answer": n} for n in range(5)])
    two = write(tmp_path / "b.json", [{"prompt": "problem $3$ ?", "answer": 3}])
    assert len(without(load(one, FIELDS), load(two, FIELDS))) == 4
    env = envs.make("mathchat", sandbox=FakeBackend(), tasks=str(one), heldout_tasks=str(two))
    assert [task.id for task in env.scenario.tasks("heldout")] == ["b/0"]
    assert [task.id for task in env.scenario.tasks("train")] == ["a/0", "a/1", "a/2", "a/4"]


def test_files_without_training_tasks_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{"prompt": "One?", "answer": 1}])
    with pytest.raises(conf.ConfigError, match="cannot be split"):
        envs.make("mathchat", sandbox=FakeBackend(), tasks=str(path))
    with pytest.raises(conf.ConfigError, match="every problem"):
        envs.make("mathchat", sandbox=FakeBackend(), tasks=str(path), heldout_tasks=str(path))


@pytest.mark.shared
@pytest.mark.parametrize(("name", "count"), [("aime_1983_2021", 860), ("amc_train", 85)])
def test_real_competition_files_load(name: str, count: int) -> None:
    path = SHARED / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path.name} does not lie beside the checkout")
    env = envs.make("mathchat", sandbox=FakeBackend(), tasks=str(path))
    train, heldout = env.scenario.tasks("train"), env.scenario.tasks("heldout")
    assert count - 5 <= len(train) + len(heldout) <= count
    assert not {task.id for task in train} & {task.id for task in heldout}
    assert all(answer.lstrip("-").isdigit() for task in (*train, *heldout) for answer in task.answer)
    env.reset(seed=0)
    for _ in range(2):
        env.step("no code")
    env.step(f"\\boxed{{{env.task.answer[0]}}}")
    assert env.outcome.success

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import conf
import envs
from envs.mathchat import loader
from envs.mathchat.loader import distinct, merged
from envs.mathchat.splits import split
from envs.types import Task
from tests.fakes import FakeBackend

FIELDS: dict[str, list[str]] = conf.to_dict(conf.load("env", "mathchat").fields)
SHARED = Path(__file__).parents[3].parent / "shared" / "data"


def write(path: Path, records: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(records if isinstance(records, str) else json.dumps(records), encoding="utf-8")
    return path


def load(path: Path, fields: dict[str, list[str]] = FIELDS) -> list[Task]:
    """Returns the tasks of a file, each problem once."""
    return distinct([problem.task for problem in merged(loader.load([str(path)], fields))], str(path))


def test_records_become_tasks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "aime.json",
        [
            {"prompt": "What is 1 + 1?", "answer": 2.0, "id": "1983-1", "year": 1983},
            {"problem": "Two\nlines", "answer": "080 or 081 (both were accepted)", "family": "sums"},
        ],
    )
    assert load(path) == [
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
    assert [task.prompt for task in load(path)] == ["## Problem: Find $x$ .", "## Problem: Find $y$."]


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ("{", "not valid JSON"),
        ('{\n"prompt": "a"\n}', "must be a JSON array of problems, or one problem a line"),
        ({"problems": [{"prompt": "a", "answer": 1}]}, "line 1: has no problem text"),
        ("{} {}", "not valid JSON"),
        ('{"prompt": "a", "answer": 1}\n\n{"prompt": "b"}\n', "line 3: has no answer"),
        ('{"prompt": "a", "answer": 1}\n{"prompt": "b"\n', "line 2: not valid JSON"),
        ('{"prompt": "a", "answer": 1}\n[]\n', "line 2: is not a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ("", "is empty"),
        ([], "at least one"),
        ([{"prompt": "a", "answer": 1}, 3], "record 2: is not a JSON object"),
        (
            [{"answer": 1}],
            "record 1: has no problem text under any of problem, prompt, question \\(env.fields.problem\\)",
        ),
        ([{"prompt": " ", "answer": 1}], "record 1: has no problem text"),
        ([{"prompt": [{"content": "a"}], "answer": 1}], r"\(env\.fields\.problem; a\.b is key b within a\)"),
        ([{"prompt": "a"}], "record 1: has no answer"),
        ([{"prompt": "a", "answer": {}}], "record 1: {} is not a valid answer"),
        ([{"prompt": "a", "answer": "[]"}], "record 1: \\[\\] is not a valid answer"),
        ([{"prompt": "a", "answer": "['2' '3']"}], "record 1: .* a list in a text"),
        (
            [{"prompt": "a", "answer": "[3, 1, 2]"}],
            "record 1: '\\[3, 1, 2\\]' is a list in a text; .* JSON list",
        ),
        ([{"prompt": "a", "answer": "{'answer': 2}"}], "record 1: .* is a dict in a text"),
        ([{"prompt": "a", "answer": "x" * 300}], "record 1: an answer of 300 characters"),
    ],
)
def test_a_malformed_file_is_a_one_line_error_with_its_name(
    tmp_path: Path, records: Any, complaint: str
) -> None:
    path = write(tmp_path / "bad.json", records)
    with pytest.raises(conf.ConfigError, match=complaint) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_binary_file_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"[\xff\xfe\x00")
    with pytest.raises(conf.ConfigError, match="not UTF-8 at byte 1"):
        load(tmp_path / "x.json")


def test_one_problem_a_line_is_read_like_an_array(tmp_path: Path) -> None:
    records = [{"prompt": "One\nand two?", "answer": 3, "id": "a"}, {"prompt": "Three?", "answer": "4"}]
    array = write(tmp_path / "x.json", records)
    lines = "\ufeff" + "\r\n\r\n".join(map(json.dumps, records)) + "\n\n"
    assert load(write(tmp_path / "b" / "x.jsonl", lines)) == load(array)
    assert len(load(write(tmp_path / "y.jsonl", json.dumps(records[0])))) == 1


def test_equal_ids_get_a_suffix_and_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As in the authors' aime_eval_32.json, where two years have a problem 24."""
    ids = ["24", 24, "24-2", "25", "24"]
    records = [{"prompt": f"Problem {n}?", "answer": f"{n:03d}", "id": key} for n, key in enumerate(ids)]
    records += [{"prompt": f"Other {n}?", "answer": str(n)} for n in range(2)]
    tasks = load(write(tmp_path / "x.json", records))
    assert [task.id for task in tasks] == [
        f"x/{name}" for name in ("24", "24-3", "24-2", "25", "24-4", "5", "6")
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'x.json'}: 2 problems have the id of another one, such as '24', and got a suffix"
    ]


def test_held_out_problems_never_have_the_id_of_a_training_problem(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "aime.json", [{"prompt": f"Problem {n}?", "answer": n} for n in range(3)])
    two = write(tmp_path / "b" / "aime.json", [{"prompt": f"Test {n}?", "answer": n} for n in range(2)])
    env = envs.make("mathchat", sandbox=FakeBackend(), tasks=str(one), heldout_tasks=str(two))
    assert [task.id for task in env.scenario.tasks("heldout")] == ["aime/0-2", "aime/1-2"]


@pytest.mark.parametrize(
    ("gold", "answers"),
    [
        ("['2']", ("2",)),
        ('["2", "3"]', ("2", "3")),
        ("('2',)", ("2",)),
        ("{'2'}", ("2",)),
        (" [2] ", ("2",)),
        (["['2']", "3"], ("2", "3")),
        ("[0, 1]", ("[0,1]",)),
        ("[a, b]", ("[a,b]",)),
        ("(1, 2)", ("(1,2)",)),
        ("{1, 2}", ("{1,2}",)),
        ("Natalia sold 48/2 = 24 clips in May. #### 1,072", ("1072",)),
    ],
)
def test_a_gold_that_is_a_list_in_a_text_is_read_as_its_alternatives(
    tmp_path: Path, gold: object, answers: tuple[str, ...]
) -> None:
    path = write(tmp_path / "x.json", [{"prompt": "a", "answer": gold}])
    assert tuple(answer.replace(" ", "") for answer in load(path)[0].answer) == answers


def problems(count: int, kind: str) -> list[loader.Problem]:
    made = (Task(f"{kind}/{n}", f"{kind} {n}", kind, ("1",)) for n in range(count))
    return [loader.Problem(task, task.id, task.prompt, None, None) for task in made]


def test_every_kind_is_split_by_seed() -> None:
    both = problems(12, "a") + problems(8, "b") + problems(2, "c")
    train, heldout = split(both, 0.25, 0)
    assert sorted(one.where for one in train + heldout) == sorted(one.where for one in both)
    assert [sum(one.task.kind == kind for one in heldout) for kind in "abc"] == [3, 2, 1]
    assert split(both, 0.25, 0) == (train, heldout)
    assert split(both, 0.25, 1) != (train, heldout)
    assert [one for one in both if one in train] == train


def test_the_path_of_a_file_may_begin_with_a_tilde_and_is_never_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x.json", [{"prompt": f"Problem {n}?", "answer": n} for n in range(4)])
    monkeypatch.setenv("HOME", str(tmp_path))
    env = envs.make("mathchat", sandbox=FakeBackend(), tasks="~/x.json")
    assert len(env.scenario.tasks("train")) == 3
    with pytest.raises(conf.ConfigError, match="cannot be read"):
        envs.make("mathchat", sandbox=FakeBackend(), tasks="")


def test_files_without_training_tasks_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{"prompt": "One?", "answer": 1}])
    with pytest.raises(conf.ConfigError, match="cannot be split"):
        envs.make("mathchat", sandbox=FakeBackend(), tasks=str(path))
    with pytest.raises(conf.ConfigError, match=r"every problem of .* is also held out"):
        envs.make("mathchat", sandbox=FakeBackend(), tasks=str(path), heldout_tasks=str(path), overlap="drop")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "count"), [("aime_1983_2021", 860), ("amc_train", 85)])
def test_real_competition_files_load(name: str, count: int) -> None:
    path = SHARED / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path.name} does not lie beside the checkout")
    env = envs.make("mathchat", sandbox=FakeBackend(), tasks=str(path))
    train, heldout = env.scenario.tasks("train"), env.scenario.tasks("heldout")
    assert len(train) + len(heldout) == count
    assert not {task.id for task in train} & {task.id for task in heldout}
    assert all(answer.lstrip("-").isdigit() for task in (*train, *heldout) for answer in task.answer)
    env.reset(seed=0)
    for _ in range(2):
        env.step("no code")
    env.step(f"\\boxed{{{env.task.answer[0]}}}")
    assert env.outcome.success

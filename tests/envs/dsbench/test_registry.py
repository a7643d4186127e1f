"""DSBench's layout, on a small copy that the tests write."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

import conf
from conf import ConfigError
from envs.dsbench import DSBench
from envs.dsbench.metrics import METRICS
from envs.dsbench.registry import registry
from envs.types import Outcome, Task
from tests.envs.dsbench.pipelines import FolderSandbox

TITANIC = ("titanic", "PassengerId", "Survived", ["0", "1", "1", "0"])
OBESITY = ("playground-series-s4e2", "id", "NObeyesdad", ["Normal", "Obese", "Thin", "Obese"])
DEFECTS = "Pastry,Z_Scratch,K_Scatch,Stains,Dirtiness,Bumps,Other_Faults"
FAULTS = (
    "playground-series-s4e3",
    "id",
    DEFECTS,
    ["0,0,0,0,0,0,0", "1,0,1,0,1,0,1", "0,1,0,1,0,1,0", "1,1,1,1,1,1,1"],
)
RINGS = ("playground-series-s4e4", "id", "Rings", ["3", "9", "12", "1"])


def write(root: Path, *tasks: tuple[str, str, str, list[str]]) -> Path:
    """Writes DSBench's layout; the answers are the same four targets."""
    data = root / "data"
    for name, key, target, values in tasks:
        folder, answers = data / "data_resplit" / name, data / "answers" / name
        folder.mkdir(parents=True)
        answers.mkdir(parents=True)
        (data / "task").mkdir(exist_ok=True)
        (data / "task" / f"{name}.txt").write_text("## Description\n\nSay what it is.\n", encoding="utf-8")
        rows = [f"{n},{n * n},word" for n in range(4)]
        train = [f"{row},{value}" for row, value in zip(rows, values, strict=True)]
        lines = {
            folder / "train.csv": [f"{key},a,b,{target}", *train],
            folder / "test.csv": [f"{key},a,b", *(f"1{row}" for row in rows)],
            folder / "sampleSubmission.csv": [f"{key},{target}", *(f"1{n},{values[0]}" for n in range(4))],
            answers / "test_answer.csv": [f"{key},{target}", *(f"1{n},{v}" for n, v in enumerate(values))],
        }
        for path, text in lines.items():
            path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return root


def scenario(root: Path, **settings: object) -> DSBench:
    built = conf.build("envs", conf.load("env", "dsbench", source="official", root=str(root), **settings))
    assert isinstance(built, DSBench)
    return built


def test_the_registry_has_the_74_tasks_and_their_official_metrics() -> None:
    entries = registry()
    assert len(entries) == 74
    assert sum(entry.metric == "roc_auc" for entry in entries.values()) == 23
    assert sum(entry.metric == "rmsle" for entry in entries.values()) == 11
    assert sum(entry.split == "heldout" for entry in entries.values()) == 8
    for entry in entries.values():
        assert entry.targets
        assert entry.id
        kind = METRICS[entry.metric].prediction
        assert (kind == "value") == (entry.task_type == "regression"), entry
        assert (kind == "text") == (entry.task_type == "text"), entry
        assert abs(entry.best - METRICS[entry.metric].best) < 1e-9
        assert entry.baseline != entry.best
        assert kind in ("value", "proba") or len(entry.targets) == 1


@pytest.mark.parametrize("above", ["", "data", "data/data_resplit/.."])
def test_tasks_are_loaded_from_any_folder_above_them_and_split_as_in_the_paper(
    tmp_path: Path, above: str
) -> None:
    write(tmp_path, TITANIC, OBESITY, FAULTS, RINGS)
    built = scenario(tmp_path / above)
    assert [task.id for task in built.tasks("train")] == ["playground-series-s4e4", "titanic"]
    assert [task.id for task in built.tasks("heldout")] == [
        "playground-series-s4e2",
        "playground-series-s4e3",
    ]


def test_facts_come_from_registry_and_files_and_a_description_cannot_forge_a_heading(tmp_path: Path) -> None:
    built = scenario(write(tmp_path, TITANIC, OBESITY, FAULTS, RINGS), style="compact")
    titanic = built.tasks("train")[1]
    obesity, faults = built.tasks("heldout")
    assert titanic.facts["target_columns"] == ("Survived",)
    assert (titanic.facts["task_type"], titanic.facts["labels"]) == ("binary", ("0", "1"))
    assert (obesity.kind, obesity.facts["labels"]) == ("classification", ("Normal", "Obese", "Thin"))
    assert (faults.facts["task_type"], len(faults.facts["target_columns"])) == ("multilabel", 7)
    lines = titanic.prompt.splitlines()
    assert lines[0] == "## Task: binary; metric accuracy; submit label; missing no; text yes; dates no"
    assert not any(line.startswith("#") for line in lines[1:])
    assert "Say what it is." in lines


def submit(built: DSBench, task: Task, data: bytes) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        sandbox = FolderSandbox(Path(folder), task)
        sandbox.write("submission.csv", data)
        return built.grade(task, (), sandbox)


def test_submissions_are_graded_relative_to_the_official_baseline_and_the_best_score(tmp_path: Path) -> None:
    built = scenario(write(tmp_path, OBESITY, FAULTS))
    for task in built.tasks("heldout"):
        outcome = submit(built, task, task.answer.answer.read_bytes())
        assert (outcome.success, outcome.score, outcome.metrics["rpg"]) == (True, 1.0, 1.0)
    obesity = built.tasks("heldout")[0]
    data = b"id,NObeyesdad\n10,Obese\n11,Obese\n12,Obese\n13,Obese\n"
    outcome = submit(built, obesity, data)
    assert outcome.metrics["accuracy"] == outcome.score == 0.5
    assert outcome.metrics["rpg"] == pytest.approx((0.5 - 0.15077071) / (1 - 0.15077071))


def test_one_task_that_does_not_fit_stops_the_others_unless_it_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, TITANIC, RINGS, OBESITY)
    (tmp_path / "data/answers/titanic/test_answer.csv").write_text("PassengerId,Survived\n10,0\n11,1\n")
    (tmp_path / "data/data_resplit/playground-series-s4e4/train.csv").unlink()
    with pytest.raises(ConfigError, match="playground-series-s4e4") as error:
        scenario(tmp_path)
    assert "env.unusable=skip" in error.value.__notes__[0]
    built = scenario(tmp_path, unusable="skip")
    assert [task.id for split in ("train", "heldout") for task in built.tasks(split)] == [OBESITY[0]]
    assert built.skipped.keys() == {"titanic", "playground-series-s4e4"}
    assert "2 tasks are left out and 1 are used" in caplog.text
    assert all(reason in caplog.text for reason in built.skipped.values())
    assert scenario(tmp_path, unusable="skip", heldout=["titanic", OBESITY[0]]).tasks("train") == ()


def test_a_source_of_which_every_task_is_skipped_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path, TITANIC)
    (tmp_path / "data/data_resplit/titanic/train.csv").unlink()
    with pytest.raises(
        ConfigError, match=r"^env.source=official has no task that can be used: titanic: task"
    ):
        scenario(tmp_path, unusable="skip")
    with pytest.raises(ConfigError, match="unusable must be stop or skip; got 'ignore'"):
        scenario(tmp_path, unusable="ignore")


def test_descriptions_of_the_user_take_the_place_of_pages(tmp_path: Path) -> None:
    write(tmp_path, TITANIC, RINGS)
    (tmp_path / "data/task/titanic.txt").unlink()
    cleaned = {
        "titanic": {"cleaned_prompt": "Task: who survived?", "metric": "wrong"},
        "unknown": {"cleaned_prompt": "x"},
    }
    path = tmp_path / "cleaned.json"
    path.write_text(json.dumps(cleaned))
    abalone, titanic = scenario(tmp_path, descriptions=str(path)).tasks("train")
    assert titanic.prompt.splitlines()[1] == "Task: who survived?"
    assert "Say what it is." in abalone.prompt


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "must be an object of task ids; got list of 1"),
        ('{"titanic": {"prompt": "x"}}', "titanic: must have a text as cleaned_prompt; got None"),
        ('{"titanic": " "}', "titanic: must have a text"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_invalid_descriptions_are_one_clear_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "cleaned.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as error:
        scenario(write(tmp_path, TITANIC), descriptions=str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "lost",
    [
        "data_resplit/titanic/train.csv",
        "data_resplit/titanic/sampleSubmission.csv",
        "answers/titanic/test_answer.csv",
        "task/titanic.txt",
    ],
)
def test_a_missing_file_is_one_clear_line(tmp_path: Path, lost: str) -> None:
    write(tmp_path, TITANIC)
    (tmp_path / "data" / lost).unlink()
    with pytest.raises(ConfigError) as error:
        scenario(tmp_path)
    assert "titanic" in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_roots_and_names_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data_resplit"):
        scenario(tmp_path)
    with pytest.raises(ConfigError, match="no modelling task 'titanik'"):
        scenario(write(tmp_path, TITANIC), tasks=["titanik"])
    with pytest.raises(ConfigError, match="needs root"):
        conf.build("envs", conf.load("env", "dsbench", source="official"))


def test_an_answer_with_a_wrong_header_is_reported_before_the_first_episode(tmp_path: Path) -> None:
    write(tmp_path, TITANIC)
    (tmp_path / "data/answers/titanic/test_answer.csv").write_text(
        "PassengerId,Transported\n10,0\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="has no column Survived"):
        scenario(tmp_path)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("10,0\n10,1\n", "not unique"),
        ("", "has no rows"),
        ("10,0\n11,1\n12,0\n", r"the ids in .*test_answer.csv are not those of .*test.csv: unknown 1 "),
        ("10,0\n11,7\n", "a label that is not among the task's labels"),
    ],
)
def test_an_invalid_answer_is_reported_before_the_first_episode(
    tmp_path: Path, rows: str, complaint: str
) -> None:
    write(tmp_path, TITANIC)
    (tmp_path / "data/answers/titanic/test_answer.csv").write_text("PassengerId,Survived\n" + rows)
    with pytest.raises(ConfigError, match=complaint):
        scenario(tmp_path).tasks("train")


PATENTS = ("us-patent-phrase-to-phrase-matching", "id", "score", ["0.5", "0.25", "0", "1"])


def test_an_undefined_metric_is_a_result_without_a_gap_as_in_the_official_table(tmp_path: Path) -> None:
    built = scenario(write(tmp_path, PATENTS))
    [task] = built.tasks("train")
    outcome = submit(built, task, b"id,score\n10,0.75\n11,0.75\n12,0.75\n13,0.75\n")
    assert (outcome.success, outcome.failure_code) == (False, "nan")
    assert "pearson" not in outcome.metrics
    assert (outcome.metrics["completed"], outcome.metrics["rpg"]) == (1.0, 0.0)


ESSAYS = ("learning-agency-lab-automated-essay-scoring-2", "essay_id", "score", ["1", "2", "3", "1"])


def swapped(task: Task) -> bytes:
    """The answer of a task with the ids of its first two rows exchanged."""
    header, one, two, *rest = task.answer.answer.read_text().splitlines()
    (a, x), (b, y) = one.split(","), two.split(",")
    return "\n".join([header, f"{b},{x}", f"{a},{y}", *rest, ""]).encode()


def test_rows_are_scored_by_id_or_by_position_as_the_official_scorers_do(tmp_path: Path) -> None:
    write(tmp_path, OBESITY, RINGS, ESSAYS)
    names = {"by_id": [], "by_position": []}  # type: dict[str, list[str]]
    for align, perfect in names.items():
        built = scenario(tmp_path, align=align)
        for task in (*built.tasks("train"), *built.tasks("heldout")):
            outcome = submit(built, task, swapped(task))
            assert outcome.success
            perfect += [task.id] if outcome.metrics["rpg"] == 1.0 else []
    assert names == {"by_id": [], "by_position": [RINGS[0], OBESITY[0]]}


def test_by_position_ids_may_be_anything_but_there_must_be_as_many_rows(tmp_path: Path) -> None:
    write(tmp_path, OBESITY)
    answer = tmp_path / "data/answers/playground-series-s4e2/test_answer.csv"
    answer.write_text(answer.read_text().replace("\n11,", "\n10,"))
    with pytest.raises(ConfigError, match=r"are not unique: '10'; env.align=by_position does not read them"):
        scenario(tmp_path).tasks("heldout")
    built = scenario(tmp_path, align="by_position")
    [task] = built.tasks("heldout")
    assert "in the order of test.csv: ids are not compared" in task.prompt
    guess = "id,NObeyesdad\nx,Normal\nx,Obese\n,Thin\n10,{}\n"
    assert submit(built, task, guess.format("Obese").encode()).score == 1.0
    assert submit(built, task, guess.format("").encode()).failure_code == "nan"
    assert submit(built, task, guess.format("Fat").encode()).failure_code == "range"
    assert submit(built, task, (guess + "11,Thin\n").encode()).failure_code == "rows"
    answer.write_text(answer.read_text() + "14,Thin\n")
    with pytest.raises(ConfigError, match=r"has 5 rows, but .*test.csv has 4"):
        scenario(tmp_path, align="by_position").tasks("heldout")


def test_an_answer_in_another_order_than_the_test_file_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, RINGS)
    answer = tmp_path / "data/answers/playground-series-s4e4/test_answer.csv"
    header, first, *rest = answer.read_text().splitlines()
    answer.write_text("\n".join([header, *rest, first]))
    scenario(tmp_path).tasks("train")
    assert not caplog.messages
    scenario(tmp_path, align="by_position").tasks("train")
    assert "are in another order than those of" in caplog.text


def test_an_unknown_alignment_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="align must be by_id or by_position; got 'position'"):
        scenario(write(tmp_path, TITANIC), align="position")

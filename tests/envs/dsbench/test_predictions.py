"""Every kind of prediction: what a submission may contain, what the prompt says of it, and what it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

import conf
from conf import ConfigError
from envs.dsbench import DSBench, grading
from envs.dsbench.submission import Key, validate
from envs.types import Task
from tests.envs.dsbench.tables import write_table

ILLS = ("Dengue", "Lyme_disease", "Malaria", "Zika", "Tungiasis")
RANKED = [f"{n},{n % 7},{ILLS[n % 5]}" for n in range(20)]
WORDS = [f'{n},{n % 7},"so {("good", "sad, really")[n % 2]} a day {n % 3}"' for n in range(20)]


def load(root: Path, style: str = "compact") -> Task:
    built = conf.build("envs", conf.load("env", "dsbench", source="local", root=str(root), style=style))
    assert isinstance(built, DSBench)
    return built.tasks("train")[0]


def ranked(root: Path, **spec: object) -> Task:
    fields = {"metric": "hit_at_3", "task_type": "multiclass", "rows": RANKED} | spec
    return load(write_table(root, **fields))  # type: ignore[arg-type]


def read(cell: str, key: Key) -> tuple[str, str]:
    """The code of a submission of one cell, and its value or what is wrong with it."""
    quoted = '"' + cell.replace('"', '""') + '"'
    result = validate(f"id,y\n1,{quoted}\n".encode(), key)
    return result.code, result.detail if result.values is None else str(result.values[0, 0])


TEXT = Key("id", ("y",), ("1",), "text")
RANKING = Key("id", ("y",), ("1",), "ranking", ("1", "2", "A_b", "None"))


@pytest.mark.parametrize(
    "cell",
    ["good", "none", "NaN", "null", "na", "-inf", " two  words ", "a,b", 'a"b', "l\nm", "é\u2028x", "=1+1"],
)
def test_any_text_that_is_not_blank_is_a_prediction_as_it_is(cell: str) -> None:
    assert read(cell, TEXT) == ("ok", cell)


@pytest.mark.parametrize("cell", ["", " ", "\t", "\u00a0", "\u2003\u3000", "\n"])
def test_a_blank_text_is_a_missing_one(cell: str) -> None:
    assert read(cell, TEXT)[0] == "nan"


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("A_b", "A_b"),
        ("A_b 2 1", "A_b 2 1"),
        (" 2.0\tA_b  01 ", "2 A_b 1"),
        ("None", "None"),
        ("1 None", "1 None"),
        ("1 2 A_b None", "1 2 A_b None"),
    ],
)
def test_a_ranking_is_one_or_more_labels_with_blanks_between_them(cell: str, wanted: str) -> None:
    assert read(cell, RANKING) == ("ok", wanted)


@pytest.mark.parametrize(
    ("cell", "code", "detail"),
    [
        ("", "nan", "missing"),
        ("nan", "nan", "missing"),
        ("a_b", "range", "not among the labels"),
        ("1,2", "range", "not among the labels"),
        ("['1', '2']", "range", "not among the labels"),
        ("1 3", "range", "not among the labels"),
        ("1 2 1.0", "range", "'1 2 1.0' for id 1 has a label more than once"),
        ("1\u200b2", "range", "not among the labels"),
        (" ".join(["1"] * 2000), "range", "more than once"),
    ],
)
def test_what_is_no_ranking_is_refused_with_its_reason(cell: str, code: str, detail: str) -> None:
    found, why = read(cell, RANKING)
    assert (found, detail in why) == (code, True), why


def test_a_task_of_rankings_is_described_graded_and_has_a_fair_score(tmp_path: Path) -> None:
    task = ranked(tmp_path)
    assert task.prompt.startswith("## Task: multiclass; metric hit_at_3; submit ranking; ")
    names = ", ".join(sorted(ILLS))
    assert (
        f"the labels {names}, or the likeliest of them: the likeliest first, separated by spaces"
        in task.prompt
    )
    assert (task.kind, task.facts["labels"]) == ("classification", tuple(sorted(ILLS)))
    perfect = task.answer.answer.read_bytes()
    assert grading.grade(task.answer, perfect, "constant").metrics["hit_at_3"] == 1.0
    fourth = "".join(f"{n},{' '.join(ILLS[(n + k) % 5] for k in (1, 2, 3, 0))}\n" for n in range(10, 20))
    outcome = grading.grade(task.answer, f"id,y\n{fourth}".encode(), "constant")
    assert (outcome.success, outcome.metrics["hit_at_3"]) == (True, 0.0)
    failed = grading.grade(task.answer, None, "constant")
    assert failed.metrics["fair"] == pytest.approx(3 / 5)


def test_a_task_of_texts_is_described_graded_and_has_a_fair_score(tmp_path: Path) -> None:
    task = load(write_table(tmp_path, metric="jaccard", rows=WORDS, sample="neutral"))
    assert task.prompt.startswith("## Task: text; metric jaccard; submit text; ")
    assert "the text of y, which cannot be empty" in task.prompt
    assert (task.kind, task.facts["labels"]) == ("text", ())
    assert grading.grade(task.answer, task.answer.answer.read_bytes(), "constant").score == 1.0
    partly = "".join(f"{n},Day so\n" for n in range(10, 20))
    outcome = grading.grade(task.answer, f"id,y\n{partly}".encode(), "constant")
    assert outcome.score == pytest.approx((2 / 5 + 2 / 6) / 2)
    assert 0.3 < grading.grade(task.answer, None, "constant").metrics["fair"] < 1.0
    copied = grading.grade(task.answer, task.files["sample_submission.csv"].read_bytes(), "constant")
    assert copied.failure_code == "copied"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"labels": ["a", "b", "c"]}, "metric hit_at_3 needs four labels or more; got 'a', 'b', 'c'"),
        ({"labels": ["a", "b", "c", "d e"]}, "ranked labels must be words without spaces; got 'd e'"),
        ({"labels": ["a", "b", "c", ""]}, "ranked labels must be words without spaces; got ''"),
        ({"labels": []}, "labels must list at least two classes"),
        ({"labels": [*ILLS[:4], "Flu"]}, "has a label that is not among the task's labels: 'Tungiasis'"),
        ({"prediction": "label"}, "metric hit_at_3 needs prediction ranking; got label"),
        ({"task_type": "text"}, "task_type text does not fit prediction ranking"),
    ],
)
def test_a_task_that_cannot_be_ranked_is_one_line(
    tmp_path: Path, spec: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigError) as error:
        ranked(tmp_path, **spec)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"task_type": "regression"}, "task_type regression does not fit prediction text"),
        ({"targets": ("y", "z"), "rows": [f"{n},1,a,b" for n in range(20)]}, "2 target columns do not fit"),
        ({"rows": [*WORDS[:19], "19,1,  "]}, "has a text that is blank: '  ' for id 19"),
        ({"rows": [f"{n},1,same" for n in range(20)]}, "a constant is a perfect submission"),
        ({"metric": "accuracy", "task_type": "text"}, "task_type text does not fit prediction label"),
    ],
)
def test_a_task_without_texts_is_one_line(tmp_path: Path, spec: dict[str, object], complaint: str) -> None:
    write_table(tmp_path, **{"metric": "jaccard", "rows": WORDS} | spec)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    assert complaint in str(error.value)

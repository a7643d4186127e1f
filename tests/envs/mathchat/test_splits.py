"""Training and evaluation: by source, by year, by chance; no problem is in both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conf
import envs
from envs.mathchat import loader
from envs.mathchat.splits import draw
from envs.types import Split, Task
from tests.fakes import FakeBackend

SHARED = Path(__file__).parents[3].parent / "shared" / "data"


def write(path: Path, records: Any) -> str:
    path.write_text(json.dumps(records), encoding="utf-8")
    return str(path)


def aime(years: range, numbers: range = range(1, 4)) -> list[dict[str, Any]]:
    return [
        {"prompt": f"In {year}, what is {part}{n}?", "answer": str(n), "id": f"{year}-{part}-{n}"}
        | {"year": year, "part": part, "problem_number": n}
        for year in years
        for part in ("I", "II")
        for n in numbers
    ]


def parts(**settings: Any) -> tuple[list[Task], list[Task]]:
    scenario = envs.make("mathchat", sandbox=FakeBackend(), **settings).scenario
    splits: tuple[Split, Split] = ("train", "heldout")
    train, heldout = (list(scenario.tasks(split)) for split in splits)
    return train, heldout


def names(tasks: list[Task]) -> list[str]:
    return [task.id.partition("/")[2] for task in tasks]


def test_one_file_is_split_by_the_years_of_its_contests(tmp_path: Path) -> None:
    path = write(tmp_path / "aime_1983_2024.json", aime(range(2018, 2025)))
    train, heldout = parts(tasks=path, years={"train": [2018, 2021], "heldout": [2023, 2024]})
    assert (len(train), len(heldout)) == (24, 12)
    assert {name[:4] for name in names(train)} == {"2018", "2019", "2020", "2021"}
    train, heldout = parts(tasks=path, years={"heldout": [2023, 2024]})
    assert (len(train), len(heldout)) == (30, 12)
    train, heldout = parts(tasks=path, years={"train": [2018, 2021]})
    assert (len(train), len(heldout)) == (18, 6)


def test_sources_without_years_in_their_records_are_of_the_year_in_their_name(tmp_path: Path) -> None:
    bare = [{"question": f"What is {n}?", "answer": n} for n in range(5)]
    other = [{"question": f"What is not {n}?", "answer": n} for n in range(5)]
    paths = [write(tmp_path / "aime_2024.json", bare), write(tmp_path / "aime_2025.json", other)]
    train, heldout = parts(tasks=paths, years={"heldout": [2025, 2025]})
    assert {task.kind for task in train} == {"aime_2024"}
    assert {task.kind for task in heldout} == {"aime_2025"}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"years": {"train": [2021, 2018]}},
            r"env\.years\.train must be \[first, last\]; got \[2021, 2018\]",
        ),
        ({"years": {"heldout": [2021]}}, r"env\.years\.heldout must be \[first, last\]"),
        ({"years": {"train": [1983, 1990]}}, r"a\.json has no problem of env\.years\.train=\[1983, 1990\]"),
        ({"years": {"heldout": [2018, 2024]}}, r"every problem of .* is of env\.years\.heldout"),
        ({"years": {"train": "2021"}}, "years"),
        ({"kinds": ["level_9"]}, r"has no problem of env\.kinds=\['level_9'\]; its kinds are 'math'"),
        ({"sample": 100}, r"env\.sample=100, but it can be at most 24, the number of problems"),
        ({"sample": 0}, "sample must be at least 1"),
        ({"sample_seed": -1}, "sample_seed must be at least 0"),
        ({"sample_seed": 2**32}, "sample_seed must be at most"),
        ({"overlap": "ignore"}, "overlap must be error or drop; got 'ignore'"),
        ({"tasks": 3}, r"env\.tasks must be a file, a data set or a list of these; got 3"),
        ({"tasks": []}, r"env\.tasks must be a file"),
        ({"heldout_tasks": ["a.json", 3]}, r"env\.heldout_tasks must be a file"),
        ({"heldout_tasks": {"a": "b"}}, r"env\.heldout_tasks must be a file"),
    ],
)
def test_what_cannot_be_split_is_one_line_that_names_the_setting(
    tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    path = write(tmp_path / "a.json", aime(range(2018, 2022)))
    with pytest.raises(conf.ConfigError, match=complaint) as raised:
        parts(**{"tasks": path, **settings})
    assert "\n" not in str(raised.value)


def test_a_record_without_year_is_named_where_years_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [*aime(range(2018, 2020)), {"prompt": "One?", "answer": 1}])
    with pytest.raises(conf.ConfigError, match=r"a\.json: record 13: has no year, .* env\.fields\.year"):
        parts(tasks=path, years={"train": [2018, 2018]})


def test_a_problem_in_both_parts_is_one_line_that_says_where(tmp_path: Path) -> None:
    one = write(tmp_path / "a.json", aime(range(2018, 2022)))
    text = write(tmp_path / "b.json", [{"prompt": "in $2018$ what is II3 ?", "answer": "003"}])
    place = write(
        tmp_path / "c.json", [{"prompt": "Other.", "answer": 1, "url": "/2019_AIME_I_Problems/Problem_1"}]
    )
    for two, reason in ((text, "text"), (place, "contest, 2019-I-1")):
        with pytest.raises(conf.ConfigError) as raised:
            parts(tasks=one, heldout_tasks=two)
        assert str(raised.value).startswith("training and evaluation have 1 problem in common, such as ")
        assert f"by its {reason}; set env.overlap=drop" in str(raised.value)


def test_a_problem_in_both_parts_can_be_left_out_of_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = write(tmp_path / "a.json", aime(range(2018, 2020)))
    two = write(tmp_path / "b.json", [*aime(range(2019, 2021))])
    train, heldout = parts(tasks=one, heldout_tasks=two, overlap="drop")
    assert {name[:4] for name in names(train)} == {"2018"}
    assert len(heldout) == 12
    assert "training and evaluation have 6 problems in common, not trained on" in caplog.text


def test_two_records_of_one_problem_count_once_and_must_agree(tmp_path: Path) -> None:
    same: list[dict[str, Any]] = [
        {"prompt": "What is 1 + 1?", "answer": "2 or 3 (both were accepted)", "id": "2021-I-1"},
        {"prompt": "what is $1+1$", "answer": 3},
        {"prompt": "Compute 1 + 1.", "answer": 2, "url": "2021_AIME_I_Problems/Problem_1"},
        {"prompt": "What is 2?", "answer": 2},
    ]
    train, heldout = parts(tasks=write(tmp_path / "a.json", same))
    assert len(train) + len(heldout) == 2
    different = [same[0], {**same[1], "answer": 4}]
    with pytest.raises(
        conf.ConfigError, match=r"record 2: has the answer 4, and .*record 1, .* by its text, has 2 or 3"
    ):
        parts(tasks=write(tmp_path / "a.json", different))


def test_only_some_kinds_can_be_played(tmp_path: Path) -> None:
    records = [{"prompt": f"{n}?", "answer": n, "kind": f"level_{n % 3}"} for n in range(30)]
    train, heldout = parts(tasks=write(tmp_path / "a.json", records), kinds=["level_0", "level_2"])
    assert {task.kind for task in (*train, *heldout)} == {"level_0", "level_2"}
    assert len(train) + len(heldout) == 20


def test_a_field_may_be_nested(tmp_path: Path) -> None:
    records = [
        {"prompt": [{"role": "user", "content": f"{n}?"}], "reward_model": {"ground_truth": str(n)}}
        for n in range(4)
    ]
    fields = {"problem": ["prompt.0.content"], "answer": ["reward_model.ground_truth"]}
    train, heldout = parts(tasks=write(tmp_path / "a.json", records), fields=fields)
    assert {task.prompt: task.answer for task in (*train, *heldout)} == {
        f"## Problem: {n}?": (str(n),) for n in range(4)
    }


def test_the_paper_s_draw_is_that_of_its_released_code() -> None:
    """It seeds numpy's global generator and takes the head of a permutation, in the order of the file."""
    task = Task("a/0", "?", "math", ("1",))
    problems = [loader.Problem(task, str(n), str(n), None, None) for n in range(933)]
    drawn = [int(problem.where) for problem in draw(problems, 512, 42)]
    np.random.seed(42)
    assert drawn == sorted(np.random.permutation(933)[:512].tolist())
    assert draw(problems, 512, 43) != draw(problems, 512, 42)


@pytest.mark.shared
def test_real_problems_split_by_year_and_are_apart() -> None:
    path = SHARED / "aime_1983_2021.json"
    if not path.exists():
        pytest.skip(f"{path.name} does not lie beside the checkout")
    train, heldout = parts(
        tasks=str(path), years={"train": [1983, 2018], "heldout": [2019, 2021]}, sample=512
    )
    assert (len(train), len(heldout)) == (512, 90)
    amc = str(SHARED / "amc_train.json")
    train, heldout = parts(tasks=str(path), heldout_tasks=[amc])
    assert (len(train), len(heldout)) == (860, 85)
    with pytest.raises(conf.ConfigError, match="training and evaluation have 860 problems in common"):
        parts(tasks=str(path), heldout_tasks=str(path))

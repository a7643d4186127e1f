"""A step that trains on nothing says so: in its line, in the metrics and in a warning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from learners.run.run import train
from tests.learners.parts.settings import settings


def rows(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["phase"] == "train"]


def small(tmp_path: Path, length: int, **algorithm: Any) -> Any:
    coach = {"name": "random", "seed": 0}
    config = settings(tmp_path / "run", {"coach": coach}, steps=1, evaluation={"every": 0})
    config.model.max_new_tokens = length
    config.algorithm.update(algorithm)
    return config


def test_a_step_whose_completions_are_all_cut_off_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small(tmp_path, 1, truncated="mask"))
    printed = capsys.readouterr().out
    [row] = rows(tmp_path / "run")
    assert row["trained"] == 0.0
    total = int(sum(value for key, value in row.items() if key.startswith("rows_skipped/")))
    assert f"trained on 0 of {total} actions ({total} cut off)" in printed
    assert f"nothing was trained on in step 1: {total} of {total} completions were cut off" in printed
    assert "model.max_new_tokens=1" in printed


def test_a_step_that_trains_on_everything_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small(tmp_path, 8, truncated="keep"))
    assert "trained on" not in capsys.readouterr().out
    assert rows(tmp_path / "run")[0]["trained"] == 1.0


def test_a_step_that_trains_on_a_part_says_how_large_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small(tmp_path, 30, truncated="mask"))
    printed = capsys.readouterr().out
    [row] = rows(tmp_path / "run")
    assert 0.0 < row["trained"] < 1.0
    assert "nothing was trained on" not in printed
    assert "step 1/1" in printed
    assert " cut off) |" in printed


def test_a_step_without_any_group_says_so_and_does_not_blame_the_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(tmp_path, 8, baseline="leave_one_out")
    config.rollout.tasks, config.rollout.episodes = 1, 1
    train(config)
    printed = capsys.readouterr().out
    assert rows(tmp_path / "run")[0]["trained"] == 0.0
    assert "nothing was trained on in step 1" in printed

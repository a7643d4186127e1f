"""With staleness 1, the next step is played while policies learn from this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import conf
from coaches.base import BudgetError
from conf import ConfigError
from learners.run import checkpoint
from learners.run.run import train
from tests.learners.parts.settings import PARTS, settings

COPIES = {"generator": {"name": f"{PARTS}.copies"}}
AHEAD = {"tasks": 2, "episodes": 2, "max_lost": 0.9, "staleness": 1}


def rows(run: Path, name: str = "metrics") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_from_the_second_step_on_episodes_are_one_version_old(tmp_path: Path) -> None:
    runs = []
    for name in ("first", "again"):
        train(settings(tmp_path / name, COPIES, steps=4, rollout=AHEAD, evaluation={"every": 2}))
        runs.append(rows(tmp_path / name))
    assert runs[0] == runs[1], "results do not depend on timing"
    steps = [row for row in runs[0] if row["phase"] == "train"]
    assert [row["staleness/a"] for row in steps] == [0.0, 1.0, 1.0, 1.0]
    versions: dict[int, set[int]] = {}
    for episode in rows(tmp_path / "first", "episodes"):
        if episode["phase"] == "train":
            seen = {turn["weight_version"] for turn in episode["turns"]}
            versions.setdefault(episode["step"], set()).update(seen)
    assert versions == {0: {0}, 1: {0}, 2: {1}, 3: {2}}
    evaluated = {
        (episode["step"], turn["weight_version"])
        for episode in rows(tmp_path / "first", "episodes")
        if episode["phase"] == "eval"
        for turn in episode["turns"]
    }
    assert evaluated == {(0, 0), (2, 2), (4, 4)}, "an evaluation is never stale"


@pytest.mark.slow
def test_a_run_that_played_ahead_is_resumed_without_repeating_an_episode(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(settings(run, COPIES, steps=3, rollout=AHEAD, evaluation={"every": 0}))
    newest = checkpoint.latest(run)
    assert newest is not None
    assert newest.step == 3
    ids = [(row["step"], row["id"]) for row in rows(run, "episodes")]
    assert len(ids) == len(set(ids)) == 12
    whole = rows(run, "episodes")
    (run / "checkpoints" / "step-000003").rename(tmp_path / "gone")
    train(settings(run, COPIES, steps=3, rollout=AHEAD, evaluation={"every": 0}, resume=True))
    again = rows(run, "episodes")
    assert [(row["step"], row["id"]) for row in again] == [(row["step"], row["id"]) for row in whole]
    assert [row["step"] for row in rows(run)] == [1, 2, 3]


def test_a_budget_that_runs_out_ahead_ends_the_run_after_learning_from_the_paid_verdicts(
    tmp_path: Path,
) -> None:
    """A step takes twelve verdicts; the thirteenth is requested while policies learn from the first step."""
    config = settings(tmp_path / "run", COPIES, steps=4, rollout=AHEAD, evaluation={"every": 0})
    config.coach.budget = 12
    with pytest.raises(BudgetError):
        train(config)
    newest = checkpoint.latest(tmp_path / "run")
    assert newest is not None
    assert newest.step == 1
    assert [row["step"] for row in rows(tmp_path / "run")] == [1]


@pytest.mark.parametrize(
    ("parts", "staleness", "reason"),
    [
        ({"generator": conf.load("generator", "hf")}, 1, "needs its own copy"),
        (COPIES, 2, "must be 0 or 1"),
    ],
)
def test_staleness_that_is_not_possible_is_refused_in_one_line(
    tmp_path: Path, parts: dict[str, Any], staleness: int, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        train(settings(tmp_path / "run", parts, rollout=AHEAD | {"staleness": staleness}))

"""What a coach reports of a step is what it scored the step with, also where steps are played ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from coaches.base import Verdict
from coaches.judging.learning import JudgedEpisode
from envs.types import Turn
from tests.learners.run.test_trainer import settings, trained


class Counting:
    """Scores every turn with the number of steps that it has learned from, and reports that number."""

    def __init__(self) -> None:
        self.learned = 0

    def judge(self, history: Sequence[Turn]) -> Verdict:
        return Verdict(float(self.learned), "")

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        self.learned += 1
        return {"offset": float(self.learned - 1)}

    def state(self) -> dict[str, Any]:
        return {"learned": self.learned}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learned = state["learned"]


@pytest.mark.parametrize("staleness", [0, 1])
@pytest.mark.slow
def test_the_offsets_that_are_reported_are_those_that_scored_the_step(tmp_path: Path, staleness: int) -> None:
    rollout = {"tasks": 2, "episodes": 2, "concurrency": 1, "staleness": staleness}
    given = settings(tmp_path / "run", steps=4, rollout=rollout)
    rows, _, folder = trained(given, coach=Counting())
    reported = {row["step"]: row["offset"] for row in rows if row["phase"] == "train"}
    used = {
        row["step"] + 1: {turn["verdict"]["score"] for turn in row["turns"]}
        for row in folder.rows("episodes")
        if row["phase"] == "train"
    }
    assert used == {step: {offset} for step, offset in reported.items()}
    assert reported == {1: 0.0, 2: 1.0, 3: 2.0, 4: 3.0}

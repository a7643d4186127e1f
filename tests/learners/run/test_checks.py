"""What is wrong with a run is said before anything is built and before a folder is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import conf
from conf import ConfigError
from learners.run.run import train
from tests.learners.parts.settings import settings

HINDSIGHT = {"name": "hindsight", "coach": {"name": "balanced", "coach": {"name": "rules", "ran": -1}}}


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        (
            {"runtime": {"name": "local", "torch_threads": 0}},
            "runtime.torch_threads must be at least 1, not 0",
        ),
        (
            {"model": conf.load("model", "tiny", device="gpu")},
            "model.device must be auto or one of cpu, cuda",
        ),
        ({"model": conf.load("model", "tiny", max_new_tokens=999)}, "= 1511 exceeds its context of 1024"),
        (
            {"model": conf.load("model", "tiny", **{"optimizer.lr": -1})},
            "model.optimizer.lr must be at least 0",
        ),
        ({"model": conf.load("model", "toy", **{"size.heads": 3})}, "size.hidden must be a multiple of"),
        ({"generator": {"name": "hf", "max_batch": 0}}, "generator.max_batch must be at least 1, not 0"),
        ({"weights": conf.load("weights", "adapter", rank=-1)}, "weights.rank must be at least 1, not -1"),
        ({"coach": HINDSIGHT}, "coach.coach.coach.ran must be at least 0, not -1"),
        (
            {"coach": {"name": "ensemble", "coaches": [{"name": "length", "scale": 0}]}},
            "coach.coaches.0.scale must",
        ),
        ({"sandbox": {"name": "nosuch"}}, "there is no module 'sandbox.nosuch'"),
        (
            {"coach": {"name": "learners.grpo", "ran": 1}},
            "learners.grpo.Grpo has no method judge or judge_episode",
        ),
        (
            {"coach": {"name": "balanced", "coach": {"name": "learners.grpo"}}},
            "learners.grpo.Grpo has no method judge or judge_episode",
        ),
        (
            {"coach": {"name": "ensemble", "coaches": [{"name": "learners.grpo"}]}},
            "learners.grpo.Grpo has no method judge or judge_episode",
        ),
        ({"env": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method grade"),
        ({"sandbox": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method open"),
        ({"algorithm": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method advantages"),
        ({"generator": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method generate"),
        ({"model": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method architecture"),
        ({"runtime": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method assemble"),
        ({"weights": {"name": "coaches.outcome"}}, "coaches.outcome.OutcomeCoach has no method load"),
    ],
)
def test_a_mistake_in_any_part_is_one_line_before_a_folder_is_made(
    tmp_path: Path, parts: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learners.run.run.build", lambda _: pytest.fail("a part was built"))
    with pytest.raises(ConfigError) as caught:
        train(settings(tmp_path / "run", parts))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "changes", "complaint"),
    [
        ("wandb", {"wandb": {"mode": "offline"}}, "wandb.mode=offline needs wandb, which is not installed"),
        ("tensorboard", {"tensorboard": True}, "tensorboard=true needs tensorboard, which is not installed"),
    ],
)
def test_a_package_that_is_missing_is_named_before_a_folder_is_made(
    tmp_path: Path,
    package: str,
    changes: dict[str, Any],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("learners.run.run.build", lambda _: pytest.fail("a part was built"))
    with pytest.raises(ConfigError, match=rf"^{complaint}: pip install 'coachgym\[{package}\]'$"):
        train(settings(tmp_path / "run", **changes))
    assert list(tmp_path.iterdir()) == []

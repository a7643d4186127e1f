"""The same run in many processes: the same numbers; what is lost is replaced, dropped or gone back for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

import conf
from learners.run import train
from tests.learners.parts.settings import settings

pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytestmark = pytest.mark.ray


def ray(**changes: Any) -> DictConfig:
    return conf.load("runtime", "ray", **({"players": 2, "start": 120.0} | changes))


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_in_many_processes_is_the_run_in_one(tmp_path: Path) -> None:
    algorithm = conf.load("algorithm", "reinforcepp", truncated="keep", kl="reward_k1")
    for name, runtime in (("one", conf.load("runtime", "local")), ("many", ray())):
        train(settings(tmp_path / name, {"runtime": runtime, "algorithm": algorithm}))
    assert metrics(tmp_path / "one") == metrics(tmp_path / "many")
    one, many = (tmp_path / name / "episodes.jsonl" for name in ("one", "many"))
    assert one.read_text() == many.read_text()

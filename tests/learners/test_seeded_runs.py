"""Seeded runs give the same results from one version of the code to the next.

``seeded/<env>.jsonl`` holds the metrics of a short run of each environment, as an earlier version of the code
computed them. Metrics are renamed there too. A change that is meant to alter results records them anew, and
CHANGELOG says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from learners.run.run import train
from sandbox.base import SandboxError
from tests.test_conf import composed

RECORDED = Path(__file__).parent / "seeded"
ARGUMENTS = (
    *("experiment=smoke", "steps=2", "evaluation.every=2", "evaluation.tasks=2", "runtime.torch_threads=1"),
    "algorithm.kl=reward_k1",
)
REL, ABS = 1e-3, 1e-5
"""Differences that other kernels of torch may make. A token that is sampled differently changes far more."""
COMPUTED = ("loss", "kl", "entropy", "grad_norm", "mismatch", "fraction", "ratio")
"""Parts of the names of metrics that torch computes; all others are counts, scores or means of them."""


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("env", [pytest.param("dsbench", marks=pytest.mark.slow), "mathchat"])
def test_a_seeded_run_gives_the_recorded_metrics(env: str, tmp_path: Path) -> None:
    try:
        run = train(composed(f"env={env}", *ARGUMENTS, f"run_dir={tmp_path}/run"))
    except SandboxError as error:
        pytest.skip(f"no isolated local sandbox here: {error}")
    for found, wanted in zip(rows(run / "metrics.jsonl"), rows(RECORDED / f"{env}.jsonl"), strict=True):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            computed = any(part in key.split("/")[0] for part in COMPUTED)
            assert found[key] == (pytest.approx(value, rel=REL, abs=ABS) if computed else value), key

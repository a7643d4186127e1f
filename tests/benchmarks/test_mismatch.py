"""The self-test at learning rate 0: growth is detected, noise is not, and a real run is flat."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from scipy import stats  # type: ignore[import-untyped]

from benchmarks import mismatch
from conf import ConfigError
from tests.learners.doubles import saved_model

STEPS = 8


def run(folder: Path, series: Mapping[str, Sequence[float]], lr: float = 0.0) -> Path:
    """Makes a run folder with the given metrics: name -> a value for each step."""
    folder.mkdir()
    (folder / "config.yaml").write_text(f"model:\n  optimizer:\n    lr: {lr}\n", encoding="utf-8")
    length = max(map(len, series.values()))
    rows: list[dict[str, Any]] = [{"phase": "eval", "step": 0, "success": 0.0}]
    for step in range(length):
        row = {name: values[step] for name, values in series.items() if step < len(values)}
        rows.append({"phase": "train", "step": step + 1, "success": 0.0} | row)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def noise(level: float, seed: int = 0) -> list[float]:
    numbers = random.Random(seed)
    return [level * (1.0 + 0.1 * numbers.gauss(0.0, 1.0)) for _ in range(STEPS)]


def verdicts(folder: Path) -> dict[str, str]:
    report = json.loads((folder / "mismatch.json").read_text())
    return {f"{one['metric']}/{one['policy']}": one["verdict"] for one in report["policies"]}


def test_a_noisy_mismatch_is_flat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = {
        "mismatch_kl/solver": noise(2e-3),
        "mismatch_kl/verifier": noise(1e-9, 1),
        "reference_kl/solver": [0.0] * STEPS,
    }
    folder = run(tmp_path / "run", series)
    assert mismatch.main([str(folder)]) == 0
    assert set(verdicts(folder).values()) == {"flat"}
    assert len(verdicts(folder)) == 3
    assert "nan" not in capsys.readouterr().out


def test_a_mismatch_that_grows_fails_and_names_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    growing = [value + 5e-4 * step for step, value in enumerate(noise(2e-3))]
    folder = run(tmp_path / "run", {"mismatch_kl/solver": growing, "mismatch_kl/verifier": noise(2e-3, 1)})
    assert mismatch.main([str(folder)]) == 1
    assert verdicts(folder) == {"mismatch_kl/solver": "grows", "mismatch_kl/verifier": "flat"}
    assert "grows" in capsys.readouterr().out
    assert mismatch.main([str(folder), "--growth", "0.01", "--overwrite"]) == 0


def test_a_growing_distance_from_the_reference_fails_though_its_estimate_is_negative(tmp_path: Path) -> None:
    falling = [-6e-4 * step for step in range(STEPS)]
    folder = run(tmp_path / "run", {"mismatch_kl/solver": noise(1e-4), "reference_kl/solver": falling})
    assert mismatch.main([str(folder)]) == 1
    assert verdicts(folder)["reference_kl/solver"] == "grows"


def test_a_jump_at_the_first_weight_sync_exceeds_the_bound(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {"mismatch_kl/solver": [1e-3, *[0.4] * (STEPS - 1)]})
    assert mismatch.main([str(folder)]) == 1
    assert verdicts(folder) == {"mismatch_kl/solver": "exceeds"}
    assert mismatch.main([str(folder), "--bound", "1", "--growth", "1", "--overwrite"]) == 0


def test_the_slope_and_its_interval_are_those_of_least_squares() -> None:
    values = noise(2e-3)
    judged = mismatch.judge("solver", "mismatch_kl", values, bound=1.0, growth=1.0)
    places = range(STEPS)
    middle, mean = (STEPS - 1) / 2, sum(values) / STEPS
    spread = sum((x - middle) ** 2 for x in places)
    slope = sum((x - middle) * (y - mean) for x, y in zip(places, values, strict=True)) / spread
    rest = sum((y - mean - slope * (x - middle)) ** 2 for x, y in zip(places, values, strict=True))
    reach = stats.t.ppf(0.975, STEPS - 2) * sqrt(rest / (STEPS - 2) / spread)
    assert judged.slope == pytest.approx(slope)
    assert (judged.low, judged.high) == pytest.approx((slope - reach, slope + reach))
    assert (judged.mean, judged.largest, judged.steps) == pytest.approx((mean, max(values), STEPS))


@pytest.mark.parametrize(
    ("series", "lr", "complaint"),
    [
        ({"mismatch_kl/solver": [1e-3] * 8}, 1e-6, "learning rate of 1e-06"),
        ({"entropy/solver": [1.0] * 8}, 0.0, "without metrics of the mismatch"),
        ({"mismatch_kl/solver": [1e-3] * 2}, 0.0, "known at 2 steps; a slope needs 3"),
        ({"mismatch_kl/solver": [1e-3, float("nan"), 1e-3]}, 0.0, "is not finite"),
    ],
)
def test_runs_that_show_no_mismatch_are_refused(
    tmp_path: Path, series: dict[str, list[float]], lr: float, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        mismatch.judge_run(run(tmp_path / "run", series, lr), bound=1.0, growth=1.0)


def test_a_folder_that_is_not_a_run_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        mismatch.main([str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path} is not a run folder: it has no config.yaml\n"


def test_too_few_steps_are_refused_before_any_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        mismatch.main(["steps=2", f"run_dir={tmp_path}/run"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: steps=2 is too few: a slope needs at least 3\n"
    assert not (tmp_path / "run").exists()


def test_a_real_run_trains_at_rate_0_and_is_flat(tmp_path: Path) -> None:
    words = [*saved_model(tmp_path / "base"), "steps=3", "algorithm.kl=reward_k1", f"run_dir={tmp_path}/run"]
    assert mismatch.main([*words, "--bound", "1e-6"]) == 0
    policies = json.loads((tmp_path / "run" / "mismatch.json").read_text())["policies"]
    assert {one["policy"] for one in policies} == {"problem_solver", "code_executor", "verifier"}
    assert "reference_kl" in {one["metric"] for one in policies}
    assert all(one["steps"] == 3 for one in policies)
    assert any(one["largest"] > 0.0 for one in policies), "decoding and one pass over a row round differently"

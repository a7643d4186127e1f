from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coaches import calibrate
from coaches.calibrate import Pairs, ScoreMap, ece, fit
from coaches.calibrated import Calibrated
from coaches.judging.inner import build
from conf import ConfigError
from envs.types import Outcome
from tests.coaches.scripted import node, turn


def data(turns: int = 600, seed: int = 0) -> Pairs:
    """An overconfident coach: the outcome is the square of a tenth of its score."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 10, turns)
    outcomes = (rng.random(turns) < (scores / 10) ** 2).astype(float)
    return Pairs(scores, outcomes, np.array([f"t{n % 12}" for n in range(turns)]))


def slow_isotonic(outcomes: list[float]) -> list[float]:
    """Reference: pool adjacent violators, block by block."""
    blocks: list[list[float]] = []
    for value in outcomes:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [float(np.mean(block)) for block in blocks for _ in block]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
@settings(deadline=None)
def test_the_map_is_the_isotonic_regression(outcomes: list[float]) -> None:
    scores = np.linspace(0, 10, len(outcomes))
    tasks = np.array(["a", "b"] * len(outcomes))[: len(outcomes)]
    fitted_map = fit(Pairs(scores, np.array(outcomes), tasks), "x")
    assert [fitted_map.outcome(score) for score in scores] == pytest.approx(slow_isotonic(outcomes), abs=1e-6)


def test_the_calibration_error_is_that_of_ten_equal_bins() -> None:
    pairs = data()
    order = np.argsort(pairs.scores)
    said, came = pairs.scores[order] / 10, pairs.outcomes[order]
    slow = sum(
        abs(float(said[n : n + 60].mean() - came[n : n + 60].mean())) * 60 / 600 for n in range(0, 600, 60)
    )
    assert ece(pairs.scores / 10, pairs.outcomes) == pytest.approx(slow)
    assert ece(np.full(10, 0.5), np.array([0.0, 1.0] * 5)) == 0.0
    shuffled = np.random.default_rng(1).permutation(600)
    tied = np.round(pairs.scores) / 10
    assert ece(tied[shuffled], pairs.outcomes[shuffled]) == pytest.approx(ece(tied, pairs.outcomes))


def test_the_error_after_calibration_is_measured_on_held_out_tasks() -> None:
    fitted_map = fit(data(), "x")
    assert fitted_map.ece_before > 0.12
    assert 0.0 < fitted_map.ece_after < 0.06
    chance = data()
    chance = chance._replace(outcomes=np.random.default_rng(2).permutation(chance.outcomes))
    memorised = fit(chance, "x")
    assert ece(np.array([memorised.outcome(score) for score in chance.scores]), chance.outcomes) < 1e-9
    assert memorised.ece_after > 0.005


def map_file(folder: Path, **changes: Any) -> Path:
    path = folder / "map.json"
    replace(fit(data(), "scripted"), **changes).write(path)
    return path


def calibrated(path: Path | None, **settings: Any) -> Calibrated:
    built = build({"name": "calibrated", "map": None if path is None else str(path), **settings})
    assert isinstance(built, Calibrated)
    return built


def test_a_score_becomes_ten_times_the_predicted_outcome_and_order_is_kept(tmp_path: Path) -> None:
    coach = calibrated(map_file(tmp_path), coach=node(blame="x"))
    verdicts = [coach.judge([turn(str(score))]) for score in range(11)]
    scores = [verdict.score for verdict in verdicts]
    assert scores == sorted(scores)
    assert scores[5] == pytest.approx(2.5, abs=1.0)
    assert scores[5] == 10 * ScoreMap.read(tmp_path / "map.json").outcome(5)
    assert (verdicts[5].blame, verdicts[5].cost, verdicts[5].source) == ("x", 0.5, "calibrated")
    assert verdicts[5].parts[0] is not None
    assert verdicts[5].parts[0].score == 5.0


def test_a_map_of_another_coach_stops_the_run(tmp_path: Path) -> None:
    coach = calibrated(map_file(tmp_path, source="rules"), coach=node())
    with pytest.raises(
        ConfigError, match="was fitted on scores of 'rules' and cannot calibrate those of 'scripted'"
    ):
        coach.judge([turn("5")])
    waiting = calibrated(tmp_path / "map.json", coach={"name": "outcome"})
    with pytest.raises(ConfigError, match="'outcome'"):
        waiting.judge_episode([turn("5")], Outcome(True, 1.0, {}, "ok"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"version": 2}',
        json.dumps({"version": 1} | asdict(fit(data(), "x")) | {"scores": []}),
        json.dumps({"version": 1} | asdict(fit(data(), "x")) | {"scores": [1, 2], "outcomes": [0.5, 0.4]}),
        json.dumps({"version": 1} | asdict(fit(data(), "x")) | {"scores": [1, 2], "outcomes": [0.5, 1.5]}),
    ],
)
def test_an_invalid_map_is_rejected(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(ConfigError, match=r"map\.json is "):
        calibrated(tmp_path / "map.json")


def test_a_map_is_required(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no map; fit one"):
        calibrated(None)
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        calibrated(tmp_path / "nowhere.json")


def recorded(path: Path, turns: int, source: str = "scripted") -> Path:
    pairs = data(turns)
    rows = [
        {
            "task": task,
            "turns": [{"agent": "a", "action": "x", "verdict": {"score": score, "source": source}}],
            "outcome": {"success": bool(outcome), "score": outcome},
        }
        for score, outcome, task in zip(*(column.tolist() for column in pairs), strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_the_command_fits_a_map_that_the_coach_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate.main([str(recorded(tmp_path / "e.jsonl", 600)), "--out", str(tmp_path / "map.json")])
    assert "600 turns of 12 tasks, coach scripted; ECE 0." in capsys.readouterr().out
    assert calibrated(tmp_path / "map.json", coach=node()).map == fit(data(), "scripted")
    again = [str(tmp_path / "e.jsonl"), "--out", str(tmp_path / "map.json")]
    with pytest.raises(SystemExit):
        calibrate.main(again)
    assert "map.json exists: name another place" in capsys.readouterr().err
    calibrate.main([*again, "--overwrite"])


def test_too_few_turns_and_several_coaches_are_one_line_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, ours = recorded(tmp_path / "few.jsonl", 29), recorded(tmp_path / "a.jsonl", 60)
    other = recorded(tmp_path / "b.jsonl", 60, "rules")
    for paths, complaint in (([few], "29 judged turns"), ([ours, other], "several coaches: rules, scripted")):
        with pytest.raises(SystemExit):
            calibrate.main([*map(str, paths), "--out", str(tmp_path / "map.json")])
        assert complaint in capsys.readouterr().err
    assert not (tmp_path / "map.json").exists()

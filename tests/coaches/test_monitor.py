from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats  # type: ignore[import-untyped]

from coaches import monitor
from coaches.bias.trends import alarm, drift
from coaches.judging.inner import build
from coaches.judging.learning import JudgedEpisode
from coaches.monitor import Monitor
from tests.coaches.scripted import judged, node, step


def run(steps: int = 3, seed: int = 0, regression: float = 0.0) -> list[list[JudgedEpisode]]:
    rng, coach = np.random.default_rng(seed), build(node(regression=regression))
    return [judged(coach, step(rng, [0.0] * 8)) for _ in range(steps)]


def watched(played: Sequence[Sequence[JudgedEpisode]]) -> Monitor:
    watcher = Monitor()
    for number, episodes in enumerate(played, 1):
        watcher.step(number, episodes)
    return watcher


def test_means_are_grouped_by_kind_role_length_turn_and_success() -> None:
    [episodes] = run(1)
    row = Monitor().step(1, episodes)
    scores = [
        (turn, verdict.score, one.outcome.success)
        for one in episodes
        for turn, verdict in zip(one.turns, one.verdicts, strict=True)
        if verdict is not None
    ]
    for name, chosen in {
        "coach/kind/regression": [s for turn, s, _ in scores if turn.kind == "regression"],
        "coach/role/second": [s for turn, s, _ in scores if turn.agent == "second"],
        "coach/length/<=100": [s for turn, s, _ in scores if len(turn.action) <= 100],
        "coach/turn/3": [s for turn, s, _ in scores if turn.index == 3],
        "coach/success/no": [s for _, s, success in scores if not success],
    }.items():
        assert row[name] == pytest.approx(np.mean(chosen))
    assert row["bias/gap_low"] < row["bias/gap"] < row["bias/gap_high"]


def test_a_summary_covers_the_whole_run_and_survives_a_restart() -> None:
    played = run(4, regression=1.5)
    whole, first = watched(played), watched(played[:2])
    second = Monitor()
    second.restore(json.loads(json.dumps(first.state())))
    rows = [second.step(number, episodes) for number, episodes in enumerate(played[2:], 3)]
    assert rows[-1] == watched(played[:3]).step(4, played[3])
    assert second.summary() == whole.summary()
    json.dumps(whole.summary(), allow_nan=False)
    assert whole.summary()["gap"]["low"] > 0.5
    console = Console(record=True, width=120, file=io.StringIO())
    monitor.show(whole.summary(), console)
    text = console.export_text()
    assert "regression above classification" in text
    assert "drift" in text


def test_a_step_without_verdicts_logs_no_nan() -> None:
    empty = build(node(mute=True))
    episodes = judged(empty, step(np.random.default_rng(0), [0.0] * 8))
    watcher = Monitor()
    assert watcher.step(1, episodes) == {}
    assert watcher.summary()["means"] == {}


def cells(rows: Mapping[int, Mapping[str, Sequence[float]]]) -> dict[int, dict[str, list[float]]]:
    return {
        step: {name: [float(len(scores)), sum(scores)] for name, scores in strata.items()}
        for step, strata in rows.items()
    }


def test_drift_is_the_slope_of_a_regression_with_one_intercept_per_stratum() -> None:
    rng = np.random.default_rng(0)
    rows = {
        step: {name: list(rng.normal(5 + 0.2 * step, 1, rng.integers(1, 6))) for name in "abc"}
        for step in range(1, 9)
    }
    flat = [(step, name, y) for step, strata in rows.items() for name, ys in strata.items() for y in ys]
    design = np.array([[step, *(name == other for other in "abc")] for step, name, _ in flat], float)
    slope = np.linalg.lstsq(design, np.array([y for *_, y in flat]), rcond=None)[0][0]
    slope_per_step = drift(cells(rows))
    assert slope_per_step is not None
    assert slope_per_step.estimate == pytest.approx(slope)
    assert slope_per_step.low < 0.2 < slope_per_step.high


def test_with_one_score_per_step_drift_is_the_slope_of_the_line_through_them() -> None:
    scores = {1: 3.0, 2: 3.5, 4: 3.2, 7: 5.0}
    slope_per_step = drift(cells({step: {"s": [score]} for step, score in scores.items()}))
    assert slope_per_step is not None
    assert slope_per_step.estimate == pytest.approx(
        stats.linregress(list(scores), list(scores.values())).slope
    )


def test_scores_that_rise_only_with_outcomes_have_no_drift() -> None:
    mixed = {step: {"success": [8.0] * step, "failure": [2.0] * (10 - step)} for step in range(1, 9)}
    slope_per_step = drift(cells(mixed))
    assert slope_per_step is not None
    assert slope_per_step.estimate == pytest.approx(0.0, abs=1e-12)
    assert drift(cells({1: {"s": [1.0]}, 2: {"s": [2.0]}})) is None, "two steps are no trend"
    assert drift(cells({step: {str(step): [1.0]} for step in range(5)})) is None, "nothing is alike"


def evaluations(*means: float, tasks: int = 8, seed: int = 0) -> list[tuple[int, dict[str, float]]]:
    rng = np.random.default_rng(seed)
    level = rng.uniform(-0.1, 0.1, tasks)
    return [
        (10 * number, {f"t{task}": mean + level[task] + rng.normal(0, 0.02) for task in range(tasks)})
        for number, mean in enumerate(means)
    ]


def rewards(slope: float, steps: int = 20, seed: int = 0) -> dict[int, float]:
    rng = np.random.default_rng(seed)
    return {step: 5.0 + slope * step + rng.normal(0, 0.1) for step in range(1, steps + 1)}


def test_an_alarm_needs_rising_reward_and_falling_outcome() -> None:
    raised = alarm(rewards(0.1), evaluations(0.6, 0.6, 0.4))
    assert raised is not None
    assert raised.step == 20
    assert raised.reward == pytest.approx(0.1, abs=0.03)
    assert raised.outcome == pytest.approx(-0.2, abs=0.03)
    assert (
        f"rose by {raised.reward:.3f} per step while the held-out score fell by {-raised.outcome:.3f}"
        in str(raised)
    )
    assert alarm(rewards(0.1), evaluations(0.6, 0.6, 0.8)) is None, "both rise"
    assert alarm(rewards(-0.1), evaluations(0.6, 0.6, 0.4)) is None, "both fall"
    assert alarm(rewards(0.1), evaluations(0.6)) is None
    assert alarm({}, evaluations(0.6, 0.4)) is None


def test_a_fall_after_an_early_rise_is_detected_from_the_evaluation_in_between() -> None:
    raised = alarm(rewards(0.1), evaluations(0.3, 0.7, 0.4))
    assert raised is not None
    assert raised.since == 10


def test_false_alarms_are_rare() -> None:
    alarms = [
        alarm(rewards(0.0, seed=seed), evaluations(0.5, 0.5, 0.5, seed=seed)) is not None
        for seed in range(200)
    ]
    assert sum(alarms) <= 3


def test_an_alarm_is_logged_as_a_warning_and_is_in_the_metrics_and_the_summary(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watcher, rng = Monitor(), np.random.default_rng(0)
    watcher.evaluation(0, [(f"t{task}", 0.9 + task / 100) for task in range(6)])
    for number in range(1, 7):
        coach = build(node(add=number / 3))
        watcher.step(number, judged(coach, step(rng, [0.0] * 8)))
    with caplog.at_level(logging.WARNING, "coaches.monitor"):
        row = watcher.evaluation(6, [(f"t{task}", 0.2) for task in range(6)])
    assert row == {"alarm": 1.0}
    assert "the agents may be exploiting the coach" in caplog.text
    assert [one["since"] for one in watcher.summary()["alarms"]] == [0]


def written(folder: Path, played: Sequence[Sequence[JudgedEpisode]], **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    lines = []
    for number, episodes in enumerate(played):
        for one in episodes:
            turns = [
                {
                    "agent": turn.agent,
                    "action": turn.action,
                    "result": None if turn.result is None else asdict(turn.result),
                    "last": turn.last,
                    "verdict": None if verdict is None else asdict(verdict),
                }
                for turn, verdict in zip(one.turns, one.verdicts, strict=True)
            ]
            row = {
                "task": one.task_id,
                "kind": one.turns[0].kind,
                "turns": turns,
                "outcome": asdict(one.outcome),
            }
            lines.append(json.dumps(row | {"phase": "train", "step": number} | changes))
    (folder / "episodes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_the_report_on_a_run_folder_equals_the_report_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = run(4, regression=1.5)
    folder = written(tmp_path / "run", played)
    monitor.main([str(folder), "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(watched(played).summary()))
    monitor.main([str(folder / "episodes.jsonl")])
    assert "What drives the coach's scores" in capsys.readouterr().out


def test_a_run_that_is_missing_or_has_no_verdicts_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = build(node(mute=True))
    episodes = judged(empty, step(np.random.default_rng(0), [0.0] * 2))
    for folder in (written(tmp_path / "mute", [episodes]), tmp_path / "nowhere"):
        with pytest.raises(SystemExit):
            monitor.main([str(folder)])
        assert capsys.readouterr().err.startswith("error: ")

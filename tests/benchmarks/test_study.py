"""The study on recorded metrics: its measures against closed forms, and its command without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import inf, isnan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats  # type: ignore[import-untyped]

from benchmarks import learning
from benchmarks.common.estimates import student
from benchmarks.study import answers, grid, measures, runs, tables
from benchmarks.study.runs import Result, Run
from conf import ConfigError

T2 = 4.302652729911275
"""The 97.5 % quantile of Student's t with two degrees of freedom: 0.95 √(2 / (1 - 0.95²))."""


def recorded(arm: str, seed: int, classification: Sequence[float], regression: Sequence[float]) -> Result:
    """Returns a run with evaluations of 64 episodes every ten steps."""
    rows = tuple(
        {
            "phase": "eval",
            "step": 10 * place,
            "episodes": 64.0,
            "success": (one + two) / 2,
            "fair": 0.5 + (one + two) / 4,
            "success/classification": one,
            "success/regression": two,
        }
        for place, (one, two) in enumerate(zip(classification, regression, strict=True))
    )
    tasks = {"cars": classification[-1], "homes": regression[-1]}
    run = Run(arm, seed, Path(f"{arm}-seed{seed}"), (), 10 * (len(rows) - 1))
    return Result(run, rows, {"success": tasks, "fair": tasks}, {"libraries": {}, "python": "3"})


def flat(arm: str, values: Sequence[float], *, gap: float = 0.0) -> list[Result]:
    """Returns a run for each value, which is its success from the first step to the last."""
    return [recorded(arm, seed, [v - gap / 2] * 3, [v + gap / 2] * 3) for seed, v in enumerate(values)]


def test_the_quantile_is_the_closed_form() -> None:
    assert pytest.approx(0.95 * sqrt(2 / (1 - 0.95**2))) == T2


def test_the_area_of_a_line_is_its_mean_height_and_uneven_steps_count_by_their_width() -> None:
    assert measures.area([0, 10, 20], [0.2, 0.4, 0.6]) == pytest.approx(0.4)
    assert measures.area([0, 10, 40], [0.0, 1.0, 1.0]) == pytest.approx((5 + 30) / 40)
    assert isnan(measures.area([0], [0.5]))


def test_the_area_is_the_integral_of_the_line_through_the_points() -> None:
    steps, values = [0, 3, 10, 30], [0.1, 0.9, 0.3, 0.6]
    fine = np.linspace(0, 30, 300_001)
    assert measures.area(steps, values) == pytest.approx(np.interp(fine, steps, values).mean(), abs=1e-5)


def test_a_band_has_students_interval_at_every_step() -> None:
    curves = [[0.1, 0.5], [0.1, 0.6], [0.1, 0.7]]
    first, second = measures.band(curves)
    assert (first.value, first.low, first.high) == pytest.approx((0.1, 0.1, 0.1))
    margin = T2 * 0.1 / sqrt(3)  # the standard deviation of 0.5, 0.6, 0.7 is 0.1
    assert (second.low, second.high) == pytest.approx((0.6 - margin, 0.6 + margin))


def test_one_seed_has_no_band_and_equal_values_one_without_width() -> None:
    assert measures.mean([0.3]).low == -inf
    assert student([0.25, 0.25, 0.25]) == (0.25, 0.25)


def test_paired_differences_are_free_of_what_seeds_have_in_common() -> None:
    first, second = {0: 0.9, 1: 0.5, 2: 0.2, 7: 0.0}, {2: 0.1, 1: 0.3, 0: 0.6}
    paired = measures.paired(first, second)
    slow = stats.ttest_rel([0.9, 0.5, 0.2], [0.6, 0.3, 0.1]).confidence_interval(0.95)
    assert paired.n == 3
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.2, slow.low, slow.high))


def test_differences_over_tasks_average_seeds_before_tasks_are_compared() -> None:
    first = [{"a": 1.0, "b": 0.5, "c": 0.25}, {"a": 0.5, "b": 0.5, "c": 0.75}]
    second = [{"a": 0.25, "b": 0.5, "c": 0.0}, {"a": 0.25, "b": 0.0, "c": 0.5}]
    by_task = [0.5, 0.25, 0.25]
    low, high = student(by_task)
    estimate = measures.over_tasks(first, second)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((np.mean(by_task), low, high))
    assert estimate.n == 3


def test_intervals_over_seeds_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        common = rng.normal(size=3)
        first, second = common + rng.normal(0.2, 0.1, 3), common + rng.normal(0.0, 0.1, 3)
        paired = measures.paired(dict(enumerate(first)), dict(enumerate(second)))
        held += paired.low <= 0.2 <= paired.high
    assert 0.92 <= held / 400 <= 0.98


def test_a_drift_shows_as_a_gap_against_the_reference() -> None:
    [question] = [one for one in grid.QUESTIONS if one.letter == "b"]
    results = {
        "reference": flat("reference", [0.5, 0.6, 0.7]),
        "biased": flat("biased", [0.5, 0.6, 0.7], gap=0.4),
        "biased-balanced": flat("biased-balanced", [0.5, 0.6], gap=0.1),
    }
    answer = answers.answer(question, results)
    drift, kept, removed = answer.comparisons
    assert (drift.arm, drift.base, drift.seeds) == ("biased", "reference", (0, 1, 2))
    for where in (drift.after, drift.area):
        gap = where["gap"]
        assert (gap.value, gap.low, gap.high) == pytest.approx((0.4, 0.4, 0.4))
        assert where["success/classification"].value == pytest.approx(-0.2)
        assert where["success"].value == pytest.approx(0.0)
    assert (kept.after["gap"].value, removed.after["gap"].value) == pytest.approx((0.1, -0.3))
    assert kept.seeds == removed.seeds == (0, 1)
    [row] = [row for row in tables.tables(answer)[3].rows if row[0] == "biased − reference"]
    assert row[2:] == (
        "-0.200 [-0.20, -0.20]",
        "+0.200 [+0.20, +0.20]",
        "+0.400 [+0.40, +0.40]",
        "+0.400 [+0.40, +0.40]",
    )


def test_an_answer_leaves_out_arms_without_finished_runs() -> None:
    question = grid.QUESTIONS[0]
    answer = answers.answer(question, {"reference": flat("reference", [0.5]), "outcome": []})
    assert [one.arm for one in answer.arms] == ["reference"]
    assert answer.comparisons == ()
    assert "+" not in tables.markdown([answer])
    assert "No run of it is finished." in tables.markdown([answers.answer(question, {})])


def test_summaries_count_the_episodes_of_all_seeds() -> None:
    summary = answers.summarise("reference", flat("reference", [0.5, 0.6, 0.7]), ("success",))
    assert (summary.episodes, summary.seeds) == (192, (0, 1, 2))
    assert summary.area["success"].value == pytest.approx(0.6)
    assert tables.level(summary.after["success"]) == "0.600 [0.35, 0.85]"


def test_the_small_study_is_a_part_of_the_whole_one(tmp_path: Path) -> None:
    small, full = grid.arms(grid.questions("small")), grid.arms(grid.questions("full"))
    assert small == ["reference", "outcome", "biased", "biased-balanced", "lr-zero"]
    assert full == list(grid.ARMS)
    assert len(full) * 3 == 48
    assert {one.letter for one in grid.QUESTIONS} == set("abcdefghi")


def test_questions_can_be_asked_by_their_letters() -> None:
    assert grid.arms(grid.questions("i")) == ["reference", "audit"]
    assert grid.questions("ha") == [one for one in grid.QUESTIONS if one.letter in "ah"]


def played(task: str, success: bool) -> dict[str, Any]:
    outcome = {"success": success, "score": 0.0, "failure_code": "ok", "metrics": {"fair": 0.75 * success}}
    place = {"phase": "eval", "step": 10, "id": task, "task": task, "roles": [], "facts": {}}
    return place | {"turns": [], "outcome": outcome}


def write_run(run: Run, success: Sequence[float]) -> None:
    """Writes what a study reads of a finished run."""
    config = runs.compose(run.settings).container() | {"seed": run.seed}
    run.folder.mkdir(parents=True)
    (run.folder / "config.yaml").write_text(yaml.safe_dump(config))
    (run.folder / "metadata.json").write_text(json.dumps(METADATA))
    rows = recorded(run.arm, run.seed, success, success).rows
    lines = {
        "metrics": rows,
        "timings": [{"phase": "eval", "step": row["step"], "play_s": 1.0} for row in rows],
        "episodes": [played("cars", True), played("cars", False), played("homes", True)],
    }
    for name, values in lines.items():
        (run.folder / f"{name}.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))


SHORT = ("steps=10",)
METADATA = {"libraries": {"numpy": "2"}, "python": "3.11", "coachgym": {"commit": "abc"}}
WORDS = ["--study", "small", "--seeds", "0", "--", *SHORT]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three of the five runs of a small study of one seed."""
    for run in runs.plan("small", [0], tmp_path, SHORT):
        if run.arm in ("reference", "outcome", "lr-zero"):
            write_run(run, [0.125, 0.25 if run.arm == "lr-zero" else 0.75])
    return tmp_path


def test_finished_runs_are_only_read_and_failed_ones_do_not_stop_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = list[list[str]]()

    def fail(module: str, settings: Sequence[str]) -> int:
        started.append([module, *settings])
        return 3

    monkeypatch.setattr(runs, "train", fail)
    with pytest.raises(SystemExit) as ended:
        learning.main(["--out", str(folder), *WORDS])
    assert ended.value.code == 1
    assert [words[-2] for words in started] == [
        f"run_dir={folder}/{arm}-seed0" for arm in ("biased", "biased-balanced")
    ]
    assert {words[0] for words in started} == {"learners.train"}
    said = capsys.readouterr()
    assert said.err == "2 of 5 runs failed: biased, seed 0; biased-balanced, seed 0\n"
    assert "run 4 of 5: biased, seed 0 (2 runs left)" in said.out
    assert "3 of 5 runs finished" in said.out
    report = json.loads((folder / "study.json").read_text())
    assert report["failed"] == ["biased, seed 0", "biased-balanced, seed 0"]
    assert {one["commit"] for one in report["runs"]} == {"abc"}
    assert report["runs"][0]["tasks"]["success"] == {"cars": 0.5, "homes": 1.0}
    assert [one["question"]["letter"] for one in report["answers"]] == ["a", "b", "h"]
    assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "lr-zero − reference | 1 | -0.500 [-1.00, +1.00]" in (folder / "study.md").read_text()


def test_a_study_that_is_read_trains_nothing_and_replaces_its_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "train", None)
    (folder / "study.md").write_text("earlier")
    learning.main(["--out", str(folder), "--read", *WORDS])
    assert (folder / "study.md").read_text().startswith("### (a)")
    assert "3 of 5 runs finished" in capsys.readouterr().out


def test_an_interruption_ends_the_study(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def interrupt(module: str, settings: Sequence[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", interrupt)
    with pytest.raises(SystemExit) as ended:
        learning.main(["--out", str(folder), *WORDS])
    assert ended.value.code == 130
    assert not (folder / "study.json").exists()
    assert len(list(folder.iterdir())) == 3


def test_a_run_made_with_other_settings_is_refused_before_anything_is_trained(
    folder: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as ended:
        learning.main(["--out", str(folder), *WORDS, "rollout.tasks=2"])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert "seed0 was made with other settings: rollout.tasks=2 (was 8): choose another --out" in error


def test_more_steps_go_on_with_finished_runs(folder: Path) -> None:
    [finished, *_] = runs.plan("small", [0], folder, SHORT)
    assert runs.is_finished(finished)
    assert not runs.is_finished(replace(finished, steps=20))
    with (finished.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"phase": "tr')  # a killed run leaves half a line
    assert not runs.is_finished(finished)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--study", "--no-control"], "--no-control is not for --study"),
        (["--read"], "--read is for --study alone"),
        (["--read", *WORDS], "has no finished run of this study"),
        (["--study", "--", "evaluation.every=0"], "evaluation.every=0: a study compares"),
        (["--study", "--", "algorithm=walrus"], "walrus"),
        (["--study", "ax"], "--study ax: expected small, full or letters of questions, a to i"),
        (["--study", ""], "--study : expected small, full or letters"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        learning.main(["--out", str(tmp_path / "new"), *words])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert message in error
    assert not (tmp_path / "new").exists()


def test_a_setting_of_an_arm_that_is_wrong_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        runs.plan("small", [0], tmp_path, ["coach.walrus=1"])

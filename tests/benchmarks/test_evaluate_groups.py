"""Several tries, groups of runs and their comparison: brute force, simulated policies, and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common import crossed, power, significance
from benchmarks.common.estimates import SEED
from benchmarks.evaluate import __main__, repeats
from benchmarks.evaluate.comparison import compare, difference, expected_disagreement, planned
from benchmarks.evaluate.groups import Group, fair, make_group, success
from benchmarks.evaluate.reading import Effort, Evaluation, Played
from benchmarks.evaluate.report import evaluated

RATES = np.linspace(0.05, 0.75, 8)
"""Chances of success on eight tasks."""


def run(folder: str, outcomes: Mapping[str, Sequence[bool]]) -> Evaluation:
    """An evaluation of which only the folder and the episodes count."""
    episodes = [
        Played(task, one, 0.5 + 0.5 * one) for task, all_of_it in outcomes.items() for one in all_of_it
    ]
    effort = Effort(0, 0, {}, 0, 0.0, 0.0, 0.0)
    return Evaluation(folder, folder, 0, {}, None, {}, {}, None, effort, {}, episodes)


def group(label: str, *runs: Mapping[str, Sequence[bool]], before: bool = False) -> Group:
    return make_group(label, [run(f"{label}{i}", one) for i, one in enumerate(runs)], before=before)


def sampled(rng: np.random.Generator, rates: Any, repeats: int = 4) -> dict[str, Sequence[bool]]:
    drawn = rng.random((len(rates), repeats)) < np.asarray(rates)[:, None]
    return {f"t{i}": row.tolist() for i, row in enumerate(drawn)}


def outcomes(one: Group) -> list[bool]:
    return [episode.success for episode in one.episodes]


@pytest.mark.parametrize(("episodes", "successes"), [(1, 0), (1, 1), (5, 0), (5, 2), (5, 5), (7, 3)])
def test_success_in_k_tries_is_the_share_of_all_choices_of_k_episodes(episodes: int, successes: int) -> None:
    outcomes = [True] * successes + [False] * (episodes - successes)
    for k in range(1, episodes + 1):
        choices = list(combinations(outcomes, k))
        assert repeats.pass_at(k, episodes, successes) == pytest.approx(np.mean([any(c) for c in choices]))
        assert repeats.pass_all(k, episodes, successes) == pytest.approx(np.mean([all(c) for c in choices]))
    if episodes > 1:
        unlike = [a != b for a, b in combinations(outcomes, 2)]
        assert repeats.disagreement(episodes, successes) == pytest.approx(np.mean(unlike))


def test_success_in_k_tries_is_unbiased() -> None:
    """Over all outcomes of six episodes at a success rate of 0.3, against 1 - 0.7^k and 0.3^k."""
    chances = [comb(6, c) * 0.3**c * 0.7 ** (6 - c) for c in range(7)]
    for k in (1, 2, 4, 6):
        at_least_one = sum(chance * repeats.pass_at(k, 6, c) for c, chance in enumerate(chances))
        all_of_them = sum(chance * repeats.pass_all(k, 6, c) for c, chance in enumerate(chances))
        assert (at_least_one, all_of_them) == pytest.approx((1 - 0.7**k, 0.3**k))


def test_a_group_is_the_mean_of_its_runs_and_tasks() -> None:
    runs = {"a": [True, True, False, False], "b": [False] * 4}, {"a": [True] * 4, "b": [True] + [False] * 3}
    both = group("both", *runs)
    assert both.cells(success).tolist() == [[0.5, 0.0], [1.0, 0.25]]
    assert both.cells(fair, ["b"]).tolist() == [[0.5], [0.625]]
    result = repeats.tries(both, [2, 4])
    assert (result.success.value, result.fair.value) == (0.4375, 0.71875)
    assert result.at_least_one[2].value == pytest.approx((5 / 6 + 0 + 1 + 1 / 2) / 4)
    assert result.all_of_them[4].value == 0.25
    assert repeats.usual_ks([both]) == [2, 4]
    assert repeats.usual_ks([group("one", {"a": [True]})]) == []
    assert repeats.usual_ks([]) == []


def test_identical_policies_differ_in_at_most_5_of_100_evaluations() -> None:
    """Of 1,500 such pairs 97.7 % passed the test over tasks, 96.8 % McNemar's, and 94.9 % of the intervals
    contained 0."""
    rng, contained, on_these, over_tasks = np.random.default_rng(0), 0, 0, 0
    for _ in range(100):
        first, second = (group(label, sampled(rng, RATES, 8)) for label in "ab")
        one, other = first.cells(success), second.cells(success)
        estimate = crossed.difference(one, other)
        contained += estimate.low <= 0.0 <= estimate.high
        on_these += significance.mcnemar(outcomes(first), outcomes(second)).p > 0.05
        over_tasks += significance.permutation((other - one)[0]) > 0.05
    assert min(on_these, over_tasks) >= 95
    assert contained >= 93


def test_a_difference_of_20_points_is_found_as_often_as_was_said() -> None:
    """Said before the comparison, from the repeats of the first policy, and after it, from the pairs."""
    rng, n = np.random.default_rng(1), 300
    before, after, hits = list[float](), list[float](), 0
    for _ in range(n):
        first, second = group("a", sampled(rng, RATES, 8)), group("b", sampled(rng, RATES + 0.2, 8))
        flips = significance.mcnemar(outcomes(first), outcomes(second))
        hits += flips.p <= 0.05 and flips.gained > flips.lost
        before.append(power.chance(64, expected_disagreement(first), 0.2))
        after.append(power.chance(64, flips.disagreement, 0.2))
    error = 2.5 * (0.25 / n) ** 0.5
    assert hits / n == pytest.approx(float(np.mean(before)), abs=error)
    assert hits / n == pytest.approx(float(np.mean(after)), abs=error)


def test_two_groups_of_runs_are_compared_over_tasks_and_runs() -> None:
    runs = [{"a": [True, False], "b": [False, False]}, {"a": [True, True], "b": [False, False]}]
    better = [{"a": [True, True], "b": [True, False]}, {"a": [True, True], "b": [True, True]}]
    one = difference(group("plain", *runs), group("better", *better), 0.2)
    assert (one.runs, one.tasks, one.left_out) == ((2, 2), 2, 0)
    assert one.success.value == pytest.approx(0.875 - 0.375)
    assert one.success == crossed.difference(np.array([[0.5, 0], [1, 0]]), np.array([[1, 0.5], [1, 1]]))
    assert one.pairs is not None
    assert (one.pairs.pairs, one.pairs.gained, one.pairs.lost) == (8, 4, 0)
    assert one.success_tests.over_runs == significance.welch(np.array([0.25, 0.5]), np.array([0.75, 1.0]))
    uneven = difference(group("plain", *runs), group("better", better[0]), 0.2)
    assert (uneven.pairs, uneven.power, uneven.success_tests.over_runs) == (None, None, None)


def test_before_and_after_are_pairs_of_runs() -> None:
    before = [{"a": [False], "b": [False]}, {"a": [True], "b": [False]}]
    after = [{"a": [True], "b": [False]}, {"a": [True], "b": [True]}]
    groups = [group("team", *before, before=True), group("team", *after), group("other", *after)]
    differences, apart = compare(groups, 0.1)
    assert [(one.baseline, one.label) for one in differences] == [("team before", "team"), ("team", "other")]
    assert apart == []
    assert differences[0].success == crossed.mean(np.array([[1.0, 0.0], [0.0, 1.0]]))


def test_tasks_that_only_one_side_has_are_left_out_and_named() -> None:
    one, two = group("one", {"a": [True], "b": [False]}), group("two", {"b": [True], "c": [True]})
    results = evaluated([one, two], None, 0.1)
    assert results.differences[0].success.value == 1.0
    assert results.notes == [
        "two minus one: over 1 common task; 2 tasks that only one of the two has left out"
    ]
    assert results.planned is None
    assert results.to_json()["bootstrap"] == {"rounds": crossed.ROUNDS, "seed": SEED}


def test_without_repeats_all_tasks_are_taken_to_be_equally_hard() -> None:
    assert planned(group("one", {"a": [True], "b": [False]}), 0.1) == power.powers(2, 0.5, 0.1)
    assert planned(group("one", {"a": [True] * 2, "b": [False] * 2}), 0.1) == power.powers(4, 0.0, 0.1)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["{one}", "--k", "4"], "--k 4: {one} has 2 episodes of task heldout-4, so k can be 2 at most"),
        (["--group", "all", "{one}", "{other}"], "do not have the same tasks: only one has heldout-4"),
        (["--group", "all", "{one}", "{one}/."], "group all: {one} is given twice"),
        (["--group", "all"], "--group all names no run folder: write --group NAME RUN…"),
        (["--group", "a", "{one}", "--group", "a", "{other}"], "--group a is given twice"),
        (["{one}", "--before"], "{one} has one evaluation only: --before needs one before and one after"),
        (["env=mathchat", "--before"], "--before compares evaluations of run folders"),
        (["{one}", "--difference", "2"], "must be at most 1, not 2"),
        (["{one}", "--k", "0"], "must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    words: list[str], complaint: str, folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main([word.format(**folders) for word in words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert complaint.format(**folders) in error
    assert len(error.splitlines()) == 1


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Two evaluations of two tasks with two episodes each, of which one task is not the same."""
    one = written(tmp_path / "one", {"heldout-4": [False, False], "heldout-5": [False, False]})
    other = written(tmp_path / "other", {"heldout-6": [True, True], "heldout-5": [False, False]})
    return {"one": str(one), "other": str(other)}


def written(folder: Path, *evaluations: dict[str, list[bool]]) -> Path:
    """A run folder with the evaluations of a team of no agents, at steps 0, 1, …"""
    rows: dict[str, list[dict[str, Any]]] = {"metrics": [], "timings": [], "episodes": []}
    for step, tasks in enumerate(evaluations):
        place = {"phase": "eval", "step": step}
        played = [(task, one) for task, outcomes in tasks.items() for one in outcomes]
        share, episodes = sum(one for _, one in played) / len(played), float(len(played))
        rows["metrics"].append(place | {"success": share, "fair": share, "episodes": episodes, "lost": 0.0})
        rows["timings"].append(place | {"play_s": 1.0})
        for task, one in played:
            outcome = {"success": one, "failure_code": "wrong", "metrics": {"fair": float(one)}}
            rows["episodes"].append(
                place | {"task": task, "facts": {}, "roles": [], "turns": [], "outcome": outcome}
            )
    folder.mkdir()
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = "{generator: {}, evaluation: {run: null}, model: {name: small}, algorithm: {name: reinforcepp}}"
    (folder / "config.yaml").write_text(config)
    return folder


def test_groups_are_shown_and_written(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "both.json")
    words = ["--group", "weak", folders["one"], "--group", "strong", folders["other"], "--difference", "0.5"]
    __main__.main([*words, "--k", "1", "2", "--out", out])
    shown = capsys.readouterr().out
    for text in ("strong minus weak", "pass@2", "pass^2", "p over tasks (permutation)", "chance to find 0.5"):
        assert text in shown
    report = json.loads(Path(out).read_text())
    assert [one["label"] for one in report["evaluations"]] == ["weak one", "strong other"]
    assert report["groups"][0]["at_least_one"]["2"]["value"] == 0.0
    assert report["differences"][0]["power"]["difference"] == 0.5


def test_a_run_is_compared_with_itself_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "run", {"a": [False], "b": [False]}, {"a": [True], "b": [True]})
    __main__.main([str(folder), "--before"])
    shown = capsys.readouterr().out
    assert "small minus small before" in shown
    assert "+1.000 [+1.00, +1.00]" in shown
    first, last = json.loads((folder / "evaluation.json").read_text())["evaluations"]
    assert (first["label"], first["step"], last["label"], last["step"]) == ("small before", 0, "small", 1)


def test_a_run_folder_is_no_name_of_a_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (str(written(tmp_path / name, {"a": [True]})) for name in ("one", "other"))
    with pytest.raises(SystemExit) as caught:
        __main__.main(["--group", one, other])
    assert caught.value.code == 2
    assert f"names the group, and {one} is a run folder: write --group NAME RUN" in capsys.readouterr().err

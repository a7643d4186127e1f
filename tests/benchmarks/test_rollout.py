"""The benchmark of rollouts: its bounds by hand, and that deferred judging changes no verdict or return."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rollout import __main__
from benchmarks.rollout.latencies import Latencies, Medians
from benchmarks.rollout.simulated import TURNS


def test_the_bounds_by_hand() -> None:
    latencies = Latencies(
        model=np.array([[1.0, 1.0], [3.0, 0.5]]),
        tool=np.array([[0.5, 0.5], [0.0, 0.5]]),
        coach=np.array([[9.0, 1.0], [0.5, 2.0]]),
    )
    assert latencies.played(2) == 4.0
    assert latencies.bound(2) == 10.5  # the first verdict of the first episode arrives last
    assert latencies.blocking(2) == 13.0
    assert latencies.one_by_one(2) == 13.0
    assert latencies.played(1) == 7.0  # one episode after the other
    assert latencies.bound(1) == 10.5  # and no turn waits for a verdict
    assert latencies.blocking(1) == 19.5
    assert latencies.one_by_one(1) == 19.5


def test_latencies_have_the_given_medians_and_depend_on_the_seed_only() -> None:
    drawn = Latencies.draw(4000, TURNS, Medians(1.0, 0.1, 2.0), 0.5, 3)
    assert [np.median(each) for each in (drawn.model, drawn.tool, drawn.coach)] == pytest.approx(
        [1.0, 0.1, 2.0], rel=0.03
    )
    again = Latencies.draw(4000, TURNS, Medians(1.0, 0.1, 2.0), 0.5, 3)
    assert (drawn.coach == again.coach).all()


def test_all_modes_give_the_same_verdicts_and_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rollout.json"
    fast = ["--model", "0.01", "--tool", "0.002", "--coach", "0.01", "--rounds", "1"]
    assert __main__.main([*fast, "--in-flight", "3", "--each", "2", "--out", str(out)]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["same"] is True
    assert [row["mode"] for row in report["rows"]] == list(__main__.MODES)
    for row in report["rows"]:
        assert row["seconds"]["median"] >= row["floor"] * 0.999
        assert row["per_hour"] == pytest.approx(3600 * 6 / row["seconds"]["median"])
    assert "the same" in capsys.readouterr().out


def test_verdicts_are_compared() -> None:
    latencies = Latencies.draw(2, TURNS, Medians(0.001, 0.001, 0.001), 0.5, 0)
    other = Latencies(latencies.model, latencies.tool, latencies.coach * 2)
    judgements = __main__.run("deferred", latencies, 2).judgements
    assert judgements == __main__.run("in step", latencies, 1).judgements
    assert judgements != __main__.run("deferred", other, 2).judgements
    assert __main__.run("nobody", latencies, 2).judgements is None


def test_a_difference_ends_with_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = __main__.run

    def biased(mode: str, latencies: Latencies, in_flight: int) -> __main__.Played:
        played = real(mode, latencies, in_flight)
        return __main__.Played(played.seconds, "else" if mode == "deferred" else played.judgements)

    monkeypatch.setattr(__main__, "run", biased)
    words = ["--model", "0.001", "--tool", "0.001", "--coach", "0.001", "--rounds", "1", "--in-flight", "2"]
    assert __main__.main([*words, "--out", str(tmp_path / "x.json")]) == 1

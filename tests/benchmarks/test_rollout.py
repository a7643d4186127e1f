"""The benchmark of rollouts: its bounds by hand, and that judging later changes nothing that is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rollout import __main__
from benchmarks.rollout.latencies import Latencies, Medians
from benchmarks.rollout.simulated import TURNS


def test_the_bounds_by_hand() -> None:
    found = Latencies(
        model=np.array([[1.0, 1.0], [3.0, 0.5]]),
        tool=np.array([[0.5, 0.5], [0.0, 0.5]]),
        coach=np.array([[9.0, 1.0], [0.5, 2.0]]),
    )
    assert found.played(2) == 4.0
    assert found.bound(2) == 10.5  # the first verdict of the first episode is the last to be there
    assert found.blocking(2) == 13.0
    assert found.one_by_one(2) == 13.0
    assert found.played(1) == 7.0  # one after the other
    assert found.bound(1) == 10.5  # and nobody waits for a verdict
    assert found.blocking(1) == 19.5
    assert found.one_by_one(1) == 19.5


def test_latencies_have_the_median_that_was_asked_for_and_are_the_same_for_a_seed() -> None:
    drawn = Latencies.draw(4000, TURNS, Medians(1.0, 0.1, 2.0), 0.5, 3)
    assert [np.median(each) for each in (drawn.model, drawn.tool, drawn.coach)] == pytest.approx(
        [1.0, 0.1, 2.0], rel=0.03
    )
    again = Latencies.draw(4000, TURNS, Medians(1.0, 0.1, 2.0), 0.5, 3)
    assert (drawn.coach == again.coach).all()


def test_every_mode_says_and_pays_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_what_is_said_is_compared() -> None:
    latencies = Latencies.draw(2, TURNS, Medians(0.001, 0.001, 0.001), 0.5, 0)
    other = Latencies(latencies.model, latencies.tool, latencies.coach * 2)
    said = __main__.run("deferred", latencies, 2).said
    assert said == __main__.run("in step", latencies, 1).said
    assert said != __main__.run("deferred", other, 2).said
    assert __main__.run("nobody", latencies, 2).said is None


def test_a_difference_ends_with_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = __main__.run

    def biased(mode: str, latencies: Latencies, in_flight: int) -> __main__.Played:
        played = real(mode, latencies, in_flight)
        return __main__.Played(played.seconds, "else" if mode == "deferred" else played.said)

    monkeypatch.setattr(__main__, "run", biased)
    words = ["--model", "0.001", "--tool", "0.001", "--coach", "0.001", "--rounds", "1", "--in-flight", "2"]
    assert __main__.main([*words, "--out", str(tmp_path / "x.json")]) == 1

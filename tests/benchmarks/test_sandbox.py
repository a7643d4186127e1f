"""The comparison of sandboxes: its report and its arithmetic, not its speeds."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.machine import docker_version
from benchmarks.common.spread import Ratio, Spread, ratio, rotations
from benchmarks.common.targets import Target
from benchmarks.sandbox import __main__
from benchmarks.sandbox.lanes import MethodError, Ran
from benchmarks.sandbox.measures import QUICK, Lanes, check
from benchmarks.sandbox.methods import Method, Opened, available
from benchmarks.sandbox.report import Row, targets
from benchmarks.sandbox.workloads import PRINT, WORKLOADS


class Scripted:
    """A lane that always prints the same."""

    def __init__(self, stdout: str = "1\n") -> None:
        self.stdout, self.closed = stdout, False

    def run(self, code: str) -> Ran:
        return Ran(self.stdout, 0.25)

    def close(self) -> None:
        self.closed = True


def quick(folder: Path, *methods: str) -> dict[str, Any]:
    """The report of a quick run of the methods."""
    out = folder / "new" / "sandbox.json"
    assert __main__.main(["--quick", "--rounds", "3", "--out", str(out), "--methods", *methods]) == 0
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return report


def check_report(report: dict[str, Any], *methods: str) -> None:
    assert [row["name"] for row in report["rows"]] == list(methods), report["skipped"]
    assert report["machine"]["cores"] >= 1 and report["machine"]["kernel"]  # noqa: PT018
    for row in report["rows"]:
        assert list(row["latency_ms"]) == [workload.name for workload in WORKLOADS]
        assert all(spread["n"] >= 3 for spread in row["latency_ms"].values())
        assert list(row["per_s"]) == [str(level) for level in QUICK.levels]
        assert all(0 < s["low"] <= s["median"] <= s["high"] for s in row["latency_ms"].values())
    medians = {row["name"]: row["latency_ms"]["snippet"]["median"] for row in report["rows"]}
    for ours, peers in report["ratios"].items():
        for peer, measured in peers.items():
            assert measured["median"] == pytest.approx(medians[ours] / medians[peer])
    for target in report["targets"]:
        met = None if target["value"] is None else target["value"] <= target["bound"]
        assert target["met"] is met


@pytest.mark.slow
def test_a_quick_run_compares_what_can_start_and_says_what_cannot(tmp_path: Path) -> None:
    try:
        available(sys.executable)["landlock"]().close()
    except MethodError as error:
        pytest.skip(f"no Landlock: {error}")
    report = quick(tmp_path, "landlock", "fork server", "subprocess")
    check_report(report, "landlock", "fork server", "subprocess")
    assert report["skipped"] == {}
    names = {target["name"]: target for target in report["targets"]}
    ratios = report["ratios"]["landlock"]
    assert names["landlock / fork server"]["value"] == ratios["fork server"]["median"]
    assert names["landlock / docker exec"]["value"] is None
    [row] = [row for row in report["rows"] if row["name"] == "landlock"]
    assert "net" in row["guarantees"] and row["start_s"]["n"] == 2  # noqa: PT018


@pytest.mark.slow
@pytest.mark.docker
def test_a_quick_run_measures_containers_and_the_wait_for_one(tmp_path: Path) -> None:
    if docker_version() is None:
        pytest.skip("no Docker daemon answers")
    report = quick(tmp_path, "docker", "docker exec")
    check_report(report, "docker", "docker exec")
    kept, dry = report["pool"]
    assert (kept["duty"], dry["duty"]) == (QUICK.duty, 2.0)
    assert kept["episode_s"] == pytest.approx(4 * dry["episode_s"])
    assert kept["waits_ms"]["n"] == QUICK.takes
    names = {target["name"]: target["value"] for target in report["targets"]}
    assert names["ms of wait for a pooled sandbox, 1 in flight"] == kept["waits_ms"]["median"]


def test_a_method_that_cannot_start_is_left_out_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none.json"
    arguments = ["--quick", "--out", str(out), "--methods", "swe-rex", "--peers-python", "/no/such/python"]
    assert __main__.main(arguments) == 1
    said = capsys.readouterr().out
    assert "left out: swe-rex: [Errno 2] No such file or directory: '/no/such/python'" in said
    assert not out.exists()


def test_unexpected_output_is_an_error() -> None:
    assert check(Scripted(), PRINT) == 0.25
    with pytest.raises(MethodError, match="print printed '2"):
        check(Scripted("2\n"), PRINT)


@pytest.mark.parametrize("name", ["fork server", "subprocess"])
def test_a_program_that_fails_is_an_error(name: str) -> None:
    lane = available(sys.executable)[name]().open().lane
    try:
        assert lane.run("print(6 * 7)").stdout == "42\n"
        with pytest.raises(MethodError, match="ZeroDivisionError"):
            lane.run("1 / 0")
    finally:
        lane.close()


def test_methods_alternate_and_none_is_always_first() -> None:
    assert ["".join(order) for order in rotations("abc", 4)] == ["abc", "bca", "cab", "abc"]


def test_open_lanes_are_closed_when_another_fails_to_open() -> None:
    lane = Scripted()

    def fail() -> Opened:
        raise MethodError("no more")

    methods = [Method("a", "peer", "", lambda: Opened(lane, 1.0)), Method("b", "peer", "", fail)]
    with pytest.raises(MethodError, match="no more"):
        Lanes.open(methods, 1)
    assert lane.closed


def test_a_ratio_has_the_quartiles_of_the_rounds() -> None:
    ours, theirs = [[1.0, 3.0], [4.0], [6.0]], [[10.0], [10.0], [20.0, 40.0]]
    overall = ratio(ours, theirs)
    assert overall.median == statistics.median([1, 3, 4, 6]) / statistics.median([10, 10, 20, 40])
    assert (overall.low, overall.high) == pytest.approx((0.2, 0.3))  # of 0.2, 0.4 and 0.2
    with pytest.raises(ValueError, match="argument"):
        ratio(ours, theirs[:2])


def test_a_target_says_whether_it_is_met_and_by_how_much() -> None:
    assert Target("a", 1.8, 1.5).line() == "MISSED by 20 %: a <= 1.5: 1.8"
    assert Target("a", 1.5, 1.5).met
    assert Target("a", 0.75, 1.5).line() == "PASS with 50 % to spare: a <= 1.5: 0.75"
    assert Target("a", None, 1.5).line() == "UNKNOWN a <= 1.5: not measured"
    assert Target("a", 1.2, 1.5, at_least=True).line() == "MISSED by 20 %: a >= 1.5: 1.2"
    assert Target("a", 3.0, 1.5, at_least=True).met


def test_the_targets_are_for_our_backends_and_not_for_peers() -> None:
    spread = Spread.of([1.0])

    def row(name: str, kind: Any) -> Row:
        return Row(name, kind, "", (), {}, {"snippet": spread}, {"1": spread}, None, None)

    ratios: dict[str, dict[str, Ratio]] = {"landlock": {}}
    ratios["docker"] = {"docker exec": Ratio(0.02, 0, 1), "fork server": Ratio(1.2, 1, 2)}
    ratios["docker"]["fork server, image"] = ratios["landlock"]["fork server, image"] = Ratio(1.6, 1, 2)
    ours = [row("docker", "ours"), row("landlock", "ours")]
    goals = targets([*ours, row("fork server", "peer")], ratios, [], QUICK)
    assert [(target.name, target.value, target.met) for target in goals] == [
        ("docker / docker exec", 0.02, False),
        ("docker / fork server", 1.2, True),
        ("docker / fork server, image", 1.6, False),
        ("landlock / docker exec", None, None),
        ("landlock / fork server", None, None),
        ("ms of wait for a pooled sandbox, 1 in flight", None, None),
    ]

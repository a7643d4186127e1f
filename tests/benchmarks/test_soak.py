"""The soak test: it counts resources, and fails if one grows or is left."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import soak
from benchmarks.common.machine import docker_version, machine
from benchmarks.sandbox.lanes import MethodError
from benchmarks.sandbox.methods import backend
from benchmarks.soak import GROWTH, NAMES, Soak, Usage, quarters, slope
from sandbox.base import SandboxError

STILL = Usage(3, 20, 9, 40, 9, 25, 8)


def run(*samples: Usage, after: Usage = STILL, lost: tuple[str, ...] = ()) -> Soak:
    numbered = [(10 * i, usage) for i, usage in enumerate(samples, 1)]
    return Soak(machine(), "local", {}, (), 100, 8, 1.0, lost, STILL, after, numbered)


def test_a_short_soak_counts_resources_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    try:
        backend("local", mode="landlock").close()
    except MethodError as error:
        pytest.skip(str(error))
    assert (
        soak.main(
            [
                "sandbox=local",
                "sandbox.mode=landlock",
                "--episodes",
                "24",
                "--in-flight",
                "3",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["lost"] == [] and record["faults"] == []  # noqa: PT018
    episodes, held = zip(*record["samples"], strict=True)
    assert list(episodes) == list(range(1, 22))  # the last episodes in flight are not sampled
    assert max(each["children"] for each in held) >= 2  # the launcher and a guest
    assert min(each["threads"] for each in held) >= 2
    assert max(each["folders"] for each in held) >= 1
    assert record["after"]["children"] == record["before"]["children"]  # other tests may have left some
    assert record["after"]["folders"] == 0


def test_the_folders_of_other_runs_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("sandbox-123-ab", "sandbox-boot.9.123.77-cd", "sandbox-124-123x", "other-123-ab"):
        (tmp_path / name).mkdir()
    assert soak.measure_usage(False, {123}).folders == 2
    assert soak.measure_usage(False, {5}).folders == 0


@pytest.mark.docker
def test_a_short_soak_counts_containers(tmp_path: Path) -> None:
    if docker_version() is None:
        pytest.skip("no Docker daemon answers")
    out = tmp_path / "soak.json"
    soak.main(["sandbox=docker", "--episodes", "8", "--in-flight", "2", "--out", str(out)])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert max(held["containers"] for _, held in record["samples"]) >= 1
    assert record["after"]["containers"] == 0
    assert record["after"]["descriptors"] == record["before"]["descriptors"]


@pytest.mark.parametrize("name", NAMES)
def test_growth_beyond_its_bound_fails_a_run_and_growth_up_to_it_does_not(name: str) -> None:
    bound = getattr(GROWTH, name)
    grown = [replace(STILL, **{name: getattr(STILL, name) + i * bound}) for i in range(3)]
    assert run(STILL, STILL, STILL, STILL, STILL, STILL, grown[1], grown[1]).problems() == []
    problems = run(STILL, STILL, STILL, STILL, STILL, STILL, grown[2], grown[2]).problems()
    assert len(problems) == 1 and problems[0].startswith(f"{name} grew from ")  # noqa: PT018


def test_a_single_burst_does_not_count_as_growth() -> None:
    burst = replace(STILL, containers=300, host_mb=900)
    assert run(*[STILL] * 9, burst, STILL, STILL).problems() == []


def test_leftovers_and_lost_episodes_fail_a_run() -> None:
    assert run(STILL, after=replace(STILL, containers=4)).problems() == [
        "containers: 3.0 before the run, 4.0 after it"
    ]
    assert run(STILL, lost=("gone", "late")).problems() == ["2 episodes were lost, the first by: gone"]


def test_a_slope_is_growth_per_thousand_episodes() -> None:
    samples = [(100 * i, replace(STILL, threads=5 + 2 * i)) for i in range(1, 9)]
    assert slope(samples, "threads") == pytest.approx(20)
    assert quarters(samples, "threads") == (8, 20)
    assert slope(samples[:1], "threads") == 0


def test_a_lost_sandbox_is_counted_and_a_wrong_result_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play(error: Exception) -> Soak:
        def fail(_: object) -> None:
            raise error

        monkeypatch.setattr(soak, "episode", fail)
        return soak.soak("local", {}, 4, 2, Console(quiet=True))

    assert play(SandboxError("gone")).lost == ["gone"] * 4
    with pytest.raises(RuntimeError, match="wrong result"):
        play(RuntimeError("wrong result"))


@pytest.mark.parametrize("words", [["docker"], ["env=mathchat"], ["sandbox=local", "--episodes", "8"]])
def test_invalid_settings_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        soak.main(words)

"""The benchmark of a step's play: what it plays, what it counts, and that two checkouts play alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rollout import __main__, play
from benchmarks.rollout.actions import CLOSING, drawn, recorded
from benchmarks.rollout.child import Meter, Replay, cpu_times
from benchmarks.rollout.play import REPLAYED
from conf import commands
from learners.config import RunConfig
from learners.types import Completion

SMALL = ("rollout.tasks=1", "rollout.episodes=2", "sandbox=local")


def config(*settings: str) -> RunConfig:
    return RunConfig.read(commands.compose([*REPLAYED, *SMALL, *settings]))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository holds a result already, at the command's default place."""
    monkeypatch.chdir(tmp_path)


def test_drawn_actions_are_programs_and_depend_on_the_seed_only() -> None:
    first, second = drawn(config(), 2)
    assert [episode.id for episode in (*first, *second)] == [
        "train-0-0",
        "train-0-1",
        "train-1-0",
        "train-1-1",
    ]
    assert [first, second] == drawn(config(), 2)
    assert first != drawn(config("seed=1"), 1)[0]
    for episode in (*first, *second):
        assert 3 <= len(episode.actions) == len(episode.tokens) <= 12
        assert all(action == CLOSING or action.startswith("```python") for action in episode.actions)


def test_an_environment_without_such_programs_needs_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["play", "env=mathchat"])
    assert ended.value.code == 2
    assert "--episodes" in capsys.readouterr().err


def test_recorded_actions_are_read_by_step(tmp_path: Path) -> None:
    def row(phase: str, step: int, name: str, *turns: dict[str, Any]) -> str:
        return json.dumps({"phase": phase, "step": step, "id": name, "task": "t", "seed": 7, "turns": turns})

    path = tmp_path / "episodes.jsonl"
    lines = [
        row("eval", 0, "eval-0-0", {"action": "x", "tokens": 1}),
        row("train", 3, "train-3-0", {"action": "abcdefgh", "tokens": None}, {"action": "y", "tokens": 9}),
        row("train", 4, "train-4-0"),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    ((episode,), _) = recorded(path, 2)
    assert (episode.id, episode.actions, episode.tokens) == ("train-3-0", ["abcdefgh", "y"], [2, 9])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["--episodes", "No such file"]),
        ("{", ["not the episodes.jsonl"]),
        ('{"phase": "train"}', ["not the episodes.jsonl", "step"]),
        ("[1]", ["not the episodes.jsonl"]),
        ("", ["0 training steps"]),
    ],
)
def test_a_file_that_is_no_recording_is_one_line(
    tmp_path: Path, text: str | None, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "episodes.jsonl"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        __main__.main(["play", "--episodes", str(path)])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert all(word in error for word in words)


def test_another_folder_than_a_checkout_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        __main__.main(["play", "--before", str(tmp_path)])
    assert f"--before {tmp_path}: this is no checkout" in capsys.readouterr().err


def test_idle_is_what_too_few_episodes_and_batches_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    meter = Meter(cores=2)
    meter.reset()

    def after(seconds: float) -> list[Completion]:
        nonlocal now
        now += seconds
        return []

    with meter.busy(), meter.busy(), meter.busy():
        after(10)  # three episodes on two cores: nothing is idle
        with meter.busy(-1), meter.busy(-1):
            after(3)  # two of them wait: one core is idle
            with meter.busy(-1):
                meter.sampling(after)(5)  # all of them wait, and a batch is sampled
    after(1)
    with meter.busy():
        pass
    read = meter.read()
    assert read["idle_s"] == 3 + 5 + 2
    assert (read["batches"], read["sampling_s"]) == (1, 5)


def test_calls_of_sandboxes_are_counted() -> None:
    class Box:
        def run(self, code: str) -> str:
            return code

    meter = Meter(2)
    opened = meter.opening(lambda spec: Box())
    boxes = [opened("spec"), opened("spec")]
    assert [box.run("x") for box in (*boxes, boxes[0])] == ["x", "x", "x"]
    assert meter.read()["sandboxes"] == {"open": 2, "run": 3}


def test_the_time_of_running_and_of_ended_processes_counts() -> None:
    burn = "import time, sys\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\nsys.stdin.read()"
    before = cpu_times()
    with subprocess.Popen([sys.executable, "-c", burn], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        running = cpu_times()
    ended = cpu_times()
    for after in (running, ended):
        used = sum(after[key] - before[key] for key in ("sandbox_user_s", "sandbox_system_s"))
        assert used >= 0.15
    assert ended["machine_s"] >= before["machine_s"]


def test_replayed_actions_come_in_their_order_and_end() -> None:
    generator = Replay(0.0)
    generator.load([{"actions": ["a", "b"], "tokens": [1, 1]}, {"actions": ["c"], "tokens": [1]}])
    texts = [generator.generate("any", (), seed=0, order=order).text for order in (0, 1, 0)]
    assert texts == ["a", "c", "b"]
    with pytest.raises(ValueError, match="episode 1 goes on"):
        generator.generate("any", (), seed=0, order=1)


def measured_step(seconds: float, turns: int = 5) -> dict[str, Any]:
    times = dict.fromkeys(("host_user_s", "host_system_s", "sandbox_user_s", "sandbox_system_s"), seconds)
    return times | {
        "seconds": seconds, "episodes": 2, "turns": turns, "programs": 4, "succeeded": 1, "batches": 3,
        "checks": [["missing", 2], ["ok", turns]], "sandboxes": {"run": 7}, "sampling_s": seconds / 4,
        "idle_s": seconds / 2, "machine_s": 5 * seconds,
    }  # fmt: skip


@pytest.mark.parametrize("turns", [5, 6])
def test_the_report_compares_both_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], turns: int
) -> None:
    def played(tree: Path, job: play.Job) -> Sequence[play.Step]:
        ours = tree == play.HERE
        return [measured_step(1.0 if ours else 2.0, 5 if ours else turns) for _ in range(job.steps)]

    monkeypatch.setattr(play, "played", played)
    out = tmp_path / "play.json"
    before = tmp_path / "older"
    monkeypatch.setattr(play, "_tree", lambda path: path)
    code = __main__.main(["play", "--before", str(before), "--rounds", "2", "--out", str(out), *SMALL])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert code == (turns != 5)
    assert report["same"] is (turns == 5)
    assert report["ratios"]["seconds"] == {"median": 0.5, "low": 0.5, "high": 0.5}
    now, older = report["rows"]
    cores = len(os.sched_getaffinity(0))
    assert (now["name"], now["cpu_s"]["median"], now["seconds"]["n"]) == ("now", 4.0, 4)
    assert (now["idle"]["median"], now["sampling"]["median"]) == (0.5 / cores, 0.25)
    assert now["foreign"]["median"] == pytest.approx(1 / cores)
    assert (older["calls"], older["checks"]["missing"]) == ({"run": 7}, 4)
    assert "0.50 (0.50 to 0.50)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("source", [[], ["--sample"]])
def test_a_real_step_is_played_by_two_checkouts(tmp_path: Path, source: list[str]) -> None:
    out = tmp_path / "play.json"
    short = ["--steps", "1", "--rounds", "1", "--token-ms", "0", "--out", str(out), *SMALL]
    sampled = ["model=toy"] if source else []
    assert __main__.main(["play", "--before", str(play.HERE), *source, *short, *sampled]) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["same"] is True
    for row in report["rows"]:
        assert row["counts"]["episodes"] == 2
        assert row["counts"]["turns"] >= 6
        assert 0 < row["sampling"]["median"] < 1
        assert row["calls"]["open"] >= 1

"""The benchmark of environments: what it counts, and that environments leave nothing behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import envs
from benchmarks import soak
from benchmarks.envs import __main__, memory
from benchmarks.envs.memory import Memory
from benchmarks.envs.subjects import NoSandbox, Subject, episode, ours, peer
from conf import ConfigError
from tests.fakes import program
from tests.sandbox.backends import local, or_skip, wait_for


@pytest.mark.parametrize(("name", "steps"), [("mathchat", 4), ("dsbench", 6)])
def test_a_step_is_an_action_of_an_agent_that_is_not_terminated(name: str, steps: int) -> None:
    subject = ours(name, NoSandbox())
    env = subject.make()
    assert [sum(1 for _ in episode(env, subject.act)) for _ in range(2)] == [steps, steps]
    assert not env.agents


def test_the_rate_is_steps_by_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        seconds = 0.0

        def process_time(self) -> float:
            return self.seconds

    class Env:
        def __init__(self) -> None:
            self.agents: list[str] = []

        def reset(self) -> None:
            self.agents, self.left = ["a"], 5

        def last(self) -> tuple[Any, ...]:
            return None, 0.0, self.left == 0, False, {}

        def step(self, action: object) -> None:
            if action is None:
                self.agents = []
            else:
                self.left, clock.seconds = self.left - 1, clock.seconds + 0.25

        def close(self) -> None: ...

    clock = Clock()
    monkeypatch.setattr(__main__, "time", clock)
    assert __main__.rate(Subject("x", Env, lambda _: 1), 3.0) == 4.0


def test_the_memory_of_a_further_environment_is_what_was_added(monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        stdout = "[1000000, 3000000, 3900000]"

    monkeypatch.setattr("subprocess.run", lambda *_, **__: Done())
    assert memory.measure("x", [10, 1]) == [Memory("x", 1, 2000, 2000), Memory("x", 10, 290, 100)]


def test_environments_are_measured_before_the_last_action(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(memory._grow("mathchat", [1, 3])) == 3


def test_a_run_writes_its_numbers_and_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        __main__, "measure_memory", lambda name, counts: [Memory(name, n, 50, 40) for n in counts]
    )
    out = tmp_path / "envs.json"
    words = ["--peers", "--rounds", "1", "--seconds", "0.01", "--counts", "5", "2", "--out", str(out)]
    assert __main__.main(words) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in report["speeds"]] == ["mathchat", "dsbench"]
    assert [row["count"] for row in report["memory"]] == [2, 5, 2, 5]
    assert [target["met"] for target in report["targets"]] == [None, True, True]
    assert "kB of one more dsbench at 5 <= 200: 40" in capsys.readouterr().out


def test_a_peer_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    for name in [name for name in sys.modules if name.startswith("pettingzoo.classic")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=r"^PettingZoo's tictactoe_v3 needs pygame: pip install pygame$"):
        peer("tictactoe_v3")


def _play(name: str, **settings: Any) -> None:
    env = envs.make(name, sandbox="local", **settings)
    for _ in range(2):  # the second episode follows an abandoned one
        env.reset(seed=0)
        env.step("A plan. \\boxed{\\frac{1}{2}}")
        env.step(program("open('left', 'w').write('x')"))
        env.step(program("import os, time\nif os.fork() == 0: time.sleep(600)"))
    while env.agents:
        terminated = env.last()[2]
        env.step(None if terminated else "It is \\boxed{\\frac{\\sqrt{2}}{3}}.")
    env.close()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mathchat", {}),
        pytest.param("mathchat", {"session": "role"}, marks=pytest.mark.slow),
        pytest.param("dsbench", {}, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left_after_close(name: str, settings: dict[str, Any]) -> None:
    """No file, thread, descriptor or process. The first environment is not counted: it loads libraries."""
    or_skip(local).close()
    _play(name, **settings)
    pids: set[int] = set()
    before = soak.measure_usage(False, pids)

    def same() -> bool:
        now = soak.measure_usage(False, pids)
        kept = ("descriptors", "threads", "children", "folders")
        return all(getattr(now, field) <= getattr(before, field) for field in kept)

    _play(name, **settings)
    wait_for(same)  # threads and children end a moment later


def test_nothing_is_left_of_many_environments_that_share_a_backend() -> None:
    backend = or_skip(local)
    pids: set[int] = set()
    many = [envs.make("mathchat", sandbox=backend) for _ in range(8)]
    for env in [*many, *many]:
        env.reset(seed=0)
        env.step("A plan.")
        env.step(program("print(1)"))
    assert soak.measure_usage(False, pids).children >= 8
    for env in many:
        env.close()
        env.close()
    wait_for(lambda: soak.measure_usage(False, pids).children <= 1)  # the fork server
    backend.close()
    wait_for(lambda: soak.measure_usage(False, pids).folders == 0)

"""A team, a sandbox and a coach that only sleep for the times drawn for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from benchmarks.rollout.latencies import Latencies
from coaches.base import Verdict
from coaches.reward import CoachReward
from envs.types import Message, Outcome, Role, Split, Task, Turn
from learners.generators.base import InferenceOnly
from learners.types import Completion
from sandbox.artifacts import ArtifactCheck
from sandbox.base import FileInfo, Limits, Result, Sandbox, SandboxSpec

AGENTS, ATTEMPTS = ("first", "second", "third"), 2
TURNS = len(AGENTS) * ATTEMPTS


class Relay:
    """A scenario of three agents with two programs each. Every episode has its own task, named by its
    number."""

    name = "relay"
    context = "previous"
    preload: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    timeout = 60.0
    roles = tuple(Role(name, "Take your time.", ATTEMPTS) for name in AGENTS)

    def tasks(self, split: Split) -> Sequence[Task]:
        return (Task("relay", "## Task: take your time", "simulated", None),) if split == "train" else ()

    def check(
        self, task: Task, role: Role, files: Mapping[str, FileInfo], sandbox: Sandbox
    ) -> tuple[ArtifactCheck, ...]:
        return ()

    def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
        return Outcome(True, 1.0, {"fair": 1.0}, "ok")


class Model(InferenceOnly):
    """A generator that sleeps and then returns a program with its duration. Serves any number of requests."""

    def __init__(self, latencies: Latencies) -> None:
        self._latencies = latencies
        self._acted: Counter[tuple[str, int]] = Counter()

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        turn = AGENTS.index(policy) * ATTEMPTS + self._acted[policy, order]
        self._acted[policy, order] += 1  # one thread per episode
        time.sleep(self._latencies.model[order, turn])
        seconds = float(self._latencies.tool[order, turn])
        return Completion(f"```python\n{seconds!r}\n```", (), (), (), 0, "stop")


class Tool:
    """Backend and sandbox in one. A program is the number of seconds that it takes."""

    name = "simulated"
    guarantees: frozenset[str] = frozenset()
    known_gaps: frozenset[str] = frozenset()
    has_sessions = False
    versions: Mapping[str, str] = {}
    limits = Limits()

    def open(self, spec: SandboxSpec) -> Sandbox:
        return self

    def resources(self) -> frozenset[str]:
        return frozenset()

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        time.sleep(float(code))
        return Result("ok", 0, "done\n", "", False, 0.0, 0.0)

    def end_session(self, session: str) -> None: ...

    def read(self, path: str) -> bytes:
        raise FileNotFoundError(path)

    def write(self, path: str, data: bytes) -> None: ...

    def list(self) -> tuple[FileInfo, ...]:
        return ()

    def close(self) -> None: ...


class Coach:
    """Sleeps, then gives a score that depends on its time. ``one_by_one``: gives one verdict at a time over
    all episodes, like a blocking client."""

    def __init__(self, latencies: Latencies, *, one_by_one: bool = False) -> None:
        self._latencies = latencies
        self._lock: Any = threading.Lock() if one_by_one else nullcontext()

    def judge(self, history: Sequence[Turn]) -> Verdict:
        turn = history[-1]
        seconds = float(self._latencies.coach[int(turn.task_id), turn.index])
        with self._lock:
            time.sleep(seconds)
        return Verdict(10.0 * seconds / (1.0 + seconds), f"{turn.action} {len(history)}", source="simulated")


class ReturnsRecorder(CoachReward):
    """Sums the rewards of every agent."""

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        super().reset(seed, options)
        self.returns = dict.fromkeys(self.possible_agents, 0.0)

    def step(self, action: Any) -> None:
        super().step(action)
        for agent, reward in self.rewards.items():
            self.returns[agent] += reward

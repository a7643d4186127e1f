"""Finds where a recorded episode can be replayed: an environment that has its task, and a sandbox."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from coaches.judging.inner import build
from coaches.replay.branches import Replayer, ReplayError
from coaches.replay.team import Team
from envs.base import Scenario
from envs.types import Split, Task, Turn
from sandbox.base import Backend

_SPLITS: tuple[Split, ...] = ("train", "heldout")


class Stages:
    """Makes replayers. The first one loads the tasks and starts the sandboxes. Thread-safe."""

    def __init__(self, envs: Sequence[Any], sandbox: Any, *, team: Team | None = None) -> None:
        """``envs`` are nodes of the environments that may have an episode's task, ``sandbox`` is the node of
        a backend."""
        self._nodes, self._sandbox, self._team = tuple(envs), sandbox, team
        self._lock = threading.Lock()

    def replayer(self, turns: Sequence[Turn], seed: int) -> Replayer:
        """Returns the replayer for the episode with these ``turns``, in the first environment that fits.

        Raises:
            ReplayError: no environment has the episode's task for its agents.
            ConfigError: an environment or the sandbox cannot be built.
        """
        scenario, task, backend = self.find(turns)
        return Replayer(scenario, backend, task, team=self._team, seed=seed)

    def find(self, turns: Sequence[Turn]) -> tuple[Scenario, Task, Backend]:
        """Returns the first environment that fits the episode with these ``turns``, its task, and where
        programs run. Raises as ``replayer``."""
        with self._lock:
            tasks, backend = self._tasks, self._backend
        agents = list(dict.fromkeys(turn.agent for turn in turns))
        for scenario, task in tasks.get(turns[0].task_id, []):
            if [role.name for role in scenario.roles][: len(agents)] == agents:
                return scenario, task, backend
        raise ReplayError(f"no environment has a task {turns[0].task_id!r} for {', '.join(agents)}")

    def close(self) -> None:
        """Ends the sandboxes, if any were opened."""
        if "_backend" in vars(self):
            vars(self).pop("_backend").close()

    @cached_property
    def _tasks(self) -> dict[str, list[tuple[Scenario, Task]]]:
        """Task id -> every environment that has such a task."""
        by_id: dict[str, list[tuple[Scenario, Task]]] = {}
        for node in self._nodes:
            scenario: Scenario = build(node, "env")
            for split in _SPLITS:
                for task in scenario.tasks(split):
                    by_id.setdefault(task.id, []).append((scenario, task))
        return by_id

    @cached_property
    def _backend(self) -> Backend:
        return cast(Backend, build(self._sandbox, "sandbox"))

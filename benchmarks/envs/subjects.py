"""The environments that are compared, and how their episodes are played: with a sandbox that runs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import envs
from conf import ConfigError
from envs.episode.sessions import digest
from sandbox.base import FileInfo, Limits, Result, Sandbox, SandboxSpec

OURS = ("mathchat", "dsbench")
PEERS = ("tictactoe_v3", "connect_four_v3")
PROGRAM = """The sum should be \\boxed{1683}. I check it.
```python
total = sum(n for n in range(1, 100) if n % 3 == 0)
print(total)
```"""
ANSWER = "The program printed 1683, which agrees with the plan.\n\\boxed{1683}"
_RESULT = Result("ok", 0, "1683\n", "", False, 0.0, 0.0)

Act = Callable[[Any], Any]
"""Observation -> action."""


@dataclass(frozen=True)
class Subject:
    """One environment of the comparison."""

    name: str
    make: Callable[[], Any]
    act: Act


class NoSandbox:
    """Backend of sandboxes that keep files and run no program: what is left is the environment."""

    name = "none"
    guarantees: frozenset[str] = frozenset()
    known_gaps: frozenset[str] = frozenset()
    has_sessions = False
    versions: Mapping[str, str] = {}
    limits = Limits()

    def open(self, spec: SandboxSpec) -> Sandbox:
        return _NoSandbox()

    def resources(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> None: ...


class _NoSandbox:
    """Says of each program that it printed a line."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._listing: tuple[FileInfo, ...] = ()

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        return _RESULT

    def end_session(self, session: str) -> None: ...

    def read(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]

    def write(self, path: str, data: bytes) -> None:
        self._files[path] = data
        others = [file for file in self._listing if file.path != path]
        self._listing = tuple(
            sorted([*others, FileInfo(path, len(data), digest(data))], key=lambda file: file.path)
        )

    def list(self) -> tuple[FileInfo, ...]:
        return self._listing

    def close(self) -> None:
        self._files = {}


def ours(name: str, backend: NoSandbox) -> Subject:
    """Returns an environment of this project, in which each agent sends a program and then a text."""

    def act(observation: Any) -> str:
        return PROGRAM if len(observation["messages"]) == 2 else ANSWER

    return Subject(name, lambda: envs.make(name, sandbox=backend), act)


def peer(name: str) -> Subject:
    """Returns a classic environment of PettingZoo, whose players make random legal moves.

    Raises:
        ConfigError: it cannot be imported.
    """
    try:
        module = importlib.import_module(f"pettingzoo.classic.{name}")
    except ImportError as error:
        raise ConfigError(f"PettingZoo's {name} needs {error.name}: pip install {error.name}") from None
    random = np.random.default_rng(0)

    def act(observation: Any) -> int:
        legal = np.flatnonzero(observation["action_mask"])
        return int(legal[int(random.random() * len(legal))])

    return Subject(name, module.env, act)


def episode(env: Any, act: Act) -> Iterator[None]:
    """Plays an episode, and yields after each action of an agent that was not terminated yet."""
    env.reset()
    while env.agents:
        observation, _, terminated, truncated, _ = env.last()
        if terminated or truncated:
            env.step(None)
        else:
            env.step(act(observation))
            yield

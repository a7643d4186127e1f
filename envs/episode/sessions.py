"""Programs that share an interpreter, as in a notebook: ``session`` of an environment.

With ``fresh`` every program is a process of its own. With ``role`` all programs of one agent run in one
session of the sandbox, which ends with the agent's part: the next agent gets the files and texts, and no
variables. A program that has to be ended takes its session with it, even if it stops when it is interrupted:
what it left would depend on how fast the machine is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from conf import ConfigError
from envs.base import Scenario
from envs.types import Turn
from sandbox.base import Backend, FileInfo, Result, Sandbox

SESSIONS = ("fresh", "role")
SHARED = (
    "Your programs share one interpreter, as in a notebook: variables and imports stay until your part ends. "
    "A program that has to be ended (for its time, memory or output) takes them with it, and its result says "
    "so. Other agents get files and messages only."
)
"""What the environment tells an agent whose programs share an interpreter."""
_LOST = "[the session was ended with the program, and its variables are gone]\n"

Play = Callable[[Sandbox, Turn], object]
"""Runs the program of a turn again."""


def shares_interpreter(scenario: Scenario) -> bool:
    """Returns whether the programs of one agent share an interpreter."""
    return getattr(scenario, "session", "fresh") == "role"


def check_sessions(scenario: Scenario, backend: Backend) -> None:
    """Raises ``ConfigError`` if ``scenario`` needs sessions and the sandboxes of ``backend`` have none."""
    if shares_interpreter(scenario) and not getattr(backend, "has_sessions", False):
        raise ConfigError(
            f"env.session=role needs a sandbox with sessions, and {backend.name} has none: choose another "
            "sandbox, or set env.session=fresh"
        )


def run(box: Sandbox, code: str, *, session: str | None, timeout: float, seed: int) -> Result:
    """Runs a program, in ``session`` if one is named, and ends the session if the program had to be ended."""
    result = box.run(code, timeout=timeout, seed=seed, session=session)
    if session is None or result.status in ("ok", "error"):
        return result
    box.end_session(session)
    return result if result.state_lost else replace(result, state_lost=True, stderr=result.stderr + _LOST)


class Beginning:
    """Brings a new sandbox to the state after the first turns of an episode, session included."""

    def __init__(
        self,
        turns: Sequence[Turn],
        agent: str,
        files: Mapping[str, Path | bytes],
        given: Mapping[str, Path | bytes],
        play: Play,
    ) -> None:
        """``agent`` acts next. ``files`` are those after the turns, and ``given`` those of the task."""
        self._turns, self._files, self._given, self._play = turns, files, given, play
        part = [turn for turn in turns if turn.agent == agent and turn.code is not None]
        ended = [place for place, turn in enumerate(part) if _ended(turn)]
        self._part = part[ended[-1] + 1 if ended else 0 :]

    def __call__(self, box: Sandbox) -> None:
        """Writes the files. If the agent's session has variables, first repeats the programs that made them.

        They run in the files that were there at the time. Where ``files`` and ``given`` do not have these any
        more, the programs of all turns are repeated. What repeated programs wrote is replaced by ``files``.
        """
        if self._part:
            self._repeat(box)
        have = {file.path: file.sha256 for file in box.list()} if self._part else {}
        for path, source in self._files.items():
            data = content(source)
            if have.get(path) != digest(data):  # a session may have opened the others
                box.write(path, data)

    def _repeat(self, box: Sandbox) -> None:
        known = {digest(data): data for data in map(content, [*self._files.values(), *self._given.values()])}
        before: Sequence[FileInfo] = self._part[0].files_before
        again: Sequence[Turn] = self._part
        start = {file.path: known[file.sha256] for file in before if file.sha256 in known}
        if len(start) < len(before):
            start, again = {path: content(source) for path, source in self._given.items()}, self._turns
        for path, data in start.items():
            box.write(path, data)
        for turn in again:
            if turn.code is not None:
                self._play(box, turn)
            if turn.last:
                box.end_session(turn.agent)


def content(source: Path | bytes) -> bytes:
    """Returns the bytes of a file that a sandbox starts with."""
    return source if isinstance(source, bytes) else source.read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _ended(turn: Turn) -> bool:
    return turn.result is not None and turn.result.status not in ("ok", "error")

"""A sandbox that survives the loss of the underlying one, without letting a program benefit from causing the
loss.

What caused a loss? If no program ran, the machine. If one ran, possibly the program: a second sandbox is
brought to the same state, and the program runs again. If that one is lost too, while a third can be started,
the program caused it: its result is ``killed``, as for any other program that has to be ended, and the
episode continues and is scored. Otherwise crashing the sandbox would be a way to avoid a bad score. When no
sandbox can be started, or the second is lost although no program ran, ``SandboxError`` is raised, and the
episode is dropped and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from sandbox.base import FileInfo, LostError, Result, Sandbox

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Operation(NamedTuple):
    """An operation that changed the sandbox, and whether it was a program."""

    act: Callable[[Sandbox], object]
    program: bool


class RecoveringSandbox:
    """Restores a lost sandbox by repeating all operations with the same seeds.

    Programs that depend on more than files and seed (such as the time) may leave other files the second time;
    later turns see those. ``Result.losses`` counts the sandboxes lost since the last result.
    """

    def __init__(self, start: Callable[[], Sandbox]) -> None:
        """``start`` opens a sandbox. Raises what ``start`` raises."""
        self._start = start
        self._box = start()
        self._history: list[_Operation] = []
        self._losses = 0

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        def act(box: Sandbox) -> Result:
            return box.run(code, timeout=timeout, seed=seed, session=session)

        try:
            result = self._with_retry(act)
        except LostError as error:
            if not error.running:
                raise
            self._record_loss(error)
            self._restore_at_any_cost()
            note = "[ended: this program took its sandbox with it, twice]\n"
            result = Result("killed", None, "", note, False, 0.0, 0.0, state_lost=session is not None)
        else:
            self._history.append(_Operation(act, program=True))
        result, self._losses = replace(result, losses=self._losses), 0
        return result

    def read(self, path: str) -> bytes:
        return self._with_retry(lambda box: box.read(path))

    def write(self, path: str, data: bytes) -> None:
        def act(box: Sandbox) -> None:
            box.write(path, data)

        self._with_retry(act)
        self._history.append(_Operation(act, program=False))

    def list(self) -> tuple[FileInfo, ...]:
        return self._with_retry(lambda box: box.list())

    def close(self) -> None:
        self._box.close()

    def _with_retry(self, act: Callable[[Sandbox], T]) -> T:
        try:
            return act(self._box)
        except LostError as error:
            self._record_loss(error)
        self._restore()
        return act(self._box)

    def _record_loss(self, error: LostError) -> None:
        self._losses += 1
        log.warning("%s; restoring it", error)

    def _restore(self) -> None:
        """Opens another sandbox and repeats the history in it. Raises ``SandboxError``."""
        self._box.close()
        self._box = self._start()
        for operation in self._history:
            operation.act(self._box)

    def _restore_at_any_cost(self) -> None:
        """Restores like ``_restore``; where a repeated program ends the sandbox, without any program and its
        files.

        Programs that cannot be repeated must not be able to drop the episode. Raises ``SandboxError``.
        """
        try:
            self._restore()
        except LostError as error:
            if not error.running:
                raise
            self._record_loss(error)
            self._history = [operation for operation in self._history if not operation.program]
            self._restore()

"""A sandbox that survives the loss of the one beneath it, and does not let a program gain by causing it.

Whose fault is a lost sandbox? If no program ran, the machine's. If one ran, perhaps the program's: a second
sandbox is brought to the same state, and the program runs again. If that one is lost too, while a third can
be had, the program did it: its result is ``killed``, as for any other that has to be ended, and the episode
goes on and is scored. Otherwise crashing the sandbox would be a way out of a bad score. When no sandbox can
be had, or the second is lost and no program ran, ``SandboxError`` says so, and the episode is dropped and
counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from sandbox.base import FileInfo, LostError, Result, Sandbox

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Done(NamedTuple):
    """Something that changed the sandbox, and whether it was a program."""

    act: Callable[[Sandbox], object]
    program: bool


class RecoveringSandbox:
    """Brings a lost sandbox back by doing again, with the same seeds, all that was done in it.

    Programs that depend on more than files and seed (time, say) may leave other files the second time; turns
    that follow see what is there then. ``Result.losses`` counts the sandboxes lost since the last result.
    """

    def __init__(self, start: Callable[[], Sandbox]) -> None:
        """``start`` opens a sandbox. Raises what it raises."""
        self._start = start
        self._box = start()
        self._done: list[_Done] = []
        self._losses = 0

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        def act(box: Sandbox) -> Result:
            return box.run(code, timeout=timeout, seed=seed, session=session)

        try:
            result = self._twice(act)
        except LostError as error:
            if not error.running:
                raise
            self._lost(error)
            self._bring_back_in_any_case()
            note = "[ended: this program took its sandbox with it, twice]\n"
            result = Result("killed", None, "", note, False, 0.0, 0.0, state_lost=session is not None)
        else:
            self._done.append(_Done(act, program=True))
        result, self._losses = replace(result, losses=self._losses), 0
        return result

    def read(self, path: str) -> bytes:
        return self._twice(lambda box: box.read(path))

    def write(self, path: str, data: bytes) -> None:
        def act(box: Sandbox) -> None:
            box.write(path, data)

        self._twice(act)
        self._done.append(_Done(act, program=False))

    def list(self) -> tuple[FileInfo, ...]:
        return self._twice(lambda box: box.list())

    def close(self) -> None:
        self._box.close()

    def _twice(self, act: Callable[[Sandbox], T]) -> T:
        try:
            return act(self._box)
        except LostError as error:
            self._lost(error)
        self._bring_back()
        return act(self._box)

    def _lost(self, error: LostError) -> None:
        self._losses += 1
        log.warning("%s; bringing it back", error)

    def _bring_back(self) -> None:
        """Opens another sandbox and does all again. Raises ``SandboxError``."""
        self._box.close()
        self._box = self._start()
        for done in self._done:
            done.act(self._box)

    def _bring_back_in_any_case(self) -> None:
        """As above; but where a program takes the sandbox with it when it is run again, all are left out,
        with their files: that they cannot be repeated must not get the episode dropped. Raises
        ``SandboxError``."""
        try:
            self._bring_back()
        except LostError as error:
            if not error.running:
                raise
            self._lost(error)
            self._done = [done for done in self._done if not done.program]
            self._bring_back()

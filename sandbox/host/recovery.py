"""A sandbox that survives the loss of the underlying one, without letting a program benefit from causing the
loss.

What caused a loss? If one program was running both times that a sandbox was lost, and a third can be
started, that program: its result is ``killed``, as for any other program that has to be ended, and the
episode continues and is scored. If the sandbox does not answer another request, nor does a second one that
was brought to the same state, then the cause is what programs left in it, as long as there were any: a third
is brought to the state before the programs since the last listing and, if that one is lost as well, a fourth
to the state before any program. Their authors miss their files, and are scored accordingly. Otherwise
crashing the sandbox would be a way to avoid a bad score. When no sandbox can be started, or one without any
program is lost, ``SandboxError`` is raised, and the episode is dropped and counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, TypeVar

from sandbox.base import FileInfo, LostError, Result, Sandbox
from sandbox.guest.session import NEW_SESSION

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Operation(NamedTuple):
    """An operation that changed the sandbox, and whether it was a program."""

    act: Callable[[Sandbox], object]
    program: bool
    session: str | None = None
    """The session in which the program ran, or that was ended."""


_History: TypeAlias = list[_Operation]


class RecoveringSandbox:
    """Restores a lost sandbox by repeating all operations with the same seeds.

    Programs that depend on more than files and seed (such as the time) may leave other files the second time;
    later turns see those. ``Result.losses`` counts the sandboxes lost since the last result. A session of
    which not every program is repeated is lost as a whole, and its next result says so.
    """

    def __init__(self, start: Callable[[], Sandbox]) -> None:
        """``start`` opens a sandbox. Raises what ``start`` raises."""
        self._start = start
        self._box = start()
        self._history: _History = []
        self._listed = 0
        """How much of the history came before the last listing."""
        self._losses = 0
        self._lost: set[str] = set()
        """Sessions that were lost, and that were not requested since."""

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        def act(box: Sandbox) -> Result:
            return box.run(code, timeout=timeout, seed=seed, session=session)

        try:
            result = self._attempt(act, program=True)
        except _CulpritError:
            self._restore_at_any_cost()
            note = "[ended: this program took its sandbox with it, twice]\n"
            result = Result("killed", None, "", note, False, 0.0, 0.0, state_lost=session is not None)
            if session is not None:
                self.end_session(session)
        else:
            self._history.append(_Operation(act, True, session))
            if session in self._lost:
                self._lost.remove(session)
                result = replace(result, state_lost=True, stderr=f"{result.stderr}[{NEW_SESSION}]\n")
        result, self._losses = replace(result, losses=self._losses), 0
        return result

    def end_session(self, session: str) -> None:
        end = _end(session)
        self._attempt(end.act)
        self._history.append(end)
        self._lost.discard(session)

    def read(self, path: str) -> bytes:
        return self._attempt(lambda box: box.read(path))

    def write(self, path: str, data: bytes) -> None:
        def act(box: Sandbox) -> None:
            box.write(path, data)

        self._attempt(act)
        self._history.append(_Operation(act, program=False))

    def list(self) -> tuple[FileInfo, ...]:
        files = self._attempt(lambda box: box.list())
        self._listed = len(self._history)
        return files

    def close(self) -> None:
        self._box.close()

    def _attempt(self, act: Callable[[Sandbox], T], *, program: bool = False) -> T:
        """Returns what ``act`` returns: in this sandbox, in one that is brought to the same state, or in one
        without what programs did.

        Raises:
            _CulpritError: ``act`` is a program, and a program was running when two sandboxes were lost.
            SandboxError: no sandbox starts, or one is lost without any program in it.
        """
        try:
            return act(self._box)
        except LostError as error:
            last = error
            self._record_loss(error)
        for history in self._states():
            try:
                self._restore(history)
                return act(self._box)
            except LostError as error:
                self._record_loss(error)
                if program and last.running and error.running:
                    raise _CulpritError from error
                last = error
        raise last

    def _states(self) -> Sequence[_History]:
        """Returns the history, and then with less and less of what may be the cause of a loss."""
        seen, unseen = self._history[: self._listed], self._history[self._listed :]
        states = [self._history, seen + _without_programs(unseen), _without_programs(self._history)]
        return [state for place, state in enumerate(states) if state not in states[:place]]

    def _record_loss(self, error: LostError) -> None:
        self._losses += 1
        log.warning("%s; restoring it", error)

    def _restore(self, history: _History) -> None:
        """Opens another sandbox and repeats ``history`` in it. Raises ``SandboxError``."""
        self._box.close()
        self._box = self._start()
        for operation in history:
            operation.act(self._box)
        before, now = _programs(self._history), _programs(history)
        incomplete = [session for session, count in before.items() if count != now[session]]
        for end in map(_end, incomplete):
            end.act(self._box)
            history = [*history, end]
        self._lost |= {*incomplete}
        self._history, self._listed = history, min(self._listed, len(history))

    def _restore_at_any_cost(self) -> None:
        """Restores as much as possible: programs that cannot be repeated must not drop the episode.

        Raises ``SandboxError``.
        """
        states = self._states()
        for place, history in enumerate(states, start=1):
            try:
                self._restore(history)
                return
            except LostError as error:
                self._record_loss(error)
                if place == len(states):
                    raise


class _CulpritError(Exception):
    """A program ended two sandboxes."""


def _end(session: str) -> _Operation:
    return _Operation(lambda box: box.end_session(session), program=False, session=session)


def _programs(history: _History) -> Counter[str]:
    """Returns how many programs ran in each session that was not ended."""
    counts = Counter[str]()
    for operation in history:
        if operation.session is not None:
            counts[operation.session] = counts[operation.session] + 1 if operation.program else 0
    return counts


def _without_programs(history: _History) -> _History:
    return [operation for operation in history if not operation.program]

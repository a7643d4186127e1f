"""Batches whose make-up never depends on timing.

Episodes are threads, each a *player* of one session. A request waits until every player still in the session
has one pending or has left; then each policy's requests run as one batch, sorted by episode number. So the
same episodes always make the same batches, however long sandboxes and coaches take, and a resumed run repeats
an unbroken one bit for bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Run = Callable[[Sequence[Request]], Sequence[Answer]]

_session: ContextVar[Lockstep | None] = ContextVar("lockstep", default=None)


class AbortedError(Exception):
    """The session was ended from outside while this player waited."""


@dataclass(eq=False)
class _Ticket(Generic[Request, Answer]):
    key: str
    place: tuple[int, int]
    request: Request
    run: Run[Request, Answer]
    caller: Hashable = None
    done: bool = False
    answer: Answer | None = None
    error: BaseException | None = field(default=None, repr=False)


class Session(Protocol):
    """What episodes that start together take part in."""

    def player(self) -> AbstractContextManager[None]:
        """The calling thread plays until the block ends, however it ends."""
        ...

    def abort(self) -> None:
        """Every waiting and every later request raises ``AbortedError``."""
        ...


class Lockstep:
    """One session of ``players`` threads, all counted in before the first of them starts."""

    def __init__(self, players: int) -> None:
        self._live = players
        self._pending: list[_Ticket[Any, Any]] = []
        self._running = False
        self._aborted = False
        self._dropped: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def player(self) -> Iterator[None]:
        """The calling thread plays until the block ends, however it ends."""
        token = _session.set(self)
        try:
            yield
        finally:
            _session.reset(token)
            self.leave()

    def leave(self) -> None:
        """One player will ask no more."""
        with self._changed:
            self._live -= 1
            self._changed.notify_all()

    def call(
        self,
        key: str,
        place: tuple[int, int],
        request: Request,
        run: Run[Request, Answer],
        caller: Hashable = None,
    ) -> Answer:
        """Waits for its batch and gives this request's answer.

        Args:
            key: who answers. Requests of one key in one round are one batch, run by the first one's ``run``.
            place: position in that batch.
            run: requests in order -> answers in order.
            caller: who asks, for ``drop``.

        Raises:
            Exception: whatever the batch raised, in every thread that waited on it.
            AbortedError: the session was aborted, or ``caller`` was dropped.
        """
        ticket = _Ticket(key, place, request, run, caller)
        with self._changed:
            self._pending.append(ticket)
            self._changed.notify_all()
            while not ticket.done:
                if self._aborted or caller in self._dropped:
                    self._pending = [one for one in self._pending if one is not ticket]
                    raise AbortedError("the session was aborted")
                if not self._running and len(self._pending) == self._live:
                    self._round()
                else:
                    self._changed.wait()
        if ticket.error is not None:
            raise ticket.error
        return cast(Answer, ticket.answer)

    def abort(self) -> None:
        """Every waiting and every later request raises ``AbortedError``."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def drop(self, caller: Hashable) -> None:
        """Forgets what ``caller`` asked for and refuses what it may still ask: its players, who are counted
        on, are to ask anew under another name."""
        with self._changed:
            self._dropped.add(caller)
            self._pending = [ticket for ticket in self._pending if ticket.caller != caller]
            self._changed.notify_all()

    def _round(self) -> None:
        """Runs all that is pending, in the thread that found it complete; the lock is let go meanwhile."""
        tickets, self._pending, self._running = self._pending, [], True
        self._changed.release()
        try:
            for key in sorted({ticket.key for ticket in tickets}):
                _answer(sorted((t for t in tickets if t.key == key), key=lambda t: t.place))
        finally:
            self._changed.acquire()
            self._running = False
            for ticket in tickets:
                ticket.done = True
            self._changed.notify_all()


def call(key: str, place: tuple[int, int], request: Request, run: Run[Request, Answer]) -> Answer:
    """``Lockstep.call`` in the calling thread's session; outside any session it just runs, at once."""
    session = _session.get()
    if session is None:
        (answer,) = run([request])
        return answer
    return session.call(key, place, request, run)


def _answer(batch: list[_Ticket[Any, Any]]) -> None:
    try:
        answers = batch[0].run([ticket.request for ticket in batch])
        for ticket, answer in zip(batch, answers, strict=True):
            ticket.answer = answer
    except BaseException as error:  # raised again in each waiting thread: nobody may wait for ever
        for ticket in batch:
            ticket.error = error

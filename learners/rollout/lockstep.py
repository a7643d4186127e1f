"""Batches whose composition never depends on timing.

Episodes are threads, and each is a *participant* of one session. The session works in rounds:

1. A thread that wants a completion adds a request to the pending ones, and waits.
2. The round is complete once every participant either has a request pending or has left (its episode ended).
3. The thread that finds the round complete runs it: each policy's requests as one batch, sorted by episode
   number; one policy after the other, sorted by name.
4. Every waiting thread takes its own answer and plays on, until it needs its next completion.

So the same episodes always form the same batches, however long sandboxes and coaches take, and a resumed run
repeats an unbroken one bit for bit. The price: everybody waits for the slowest participant of each round, and
while a batch is sampled no program runs. So episodes are played in several groups, each with sessions of its
own (``learners.rollout.threads.run_waves``): programs of one group run while a batch of another is sampled.
Sessions that share a ``turn`` run one round at a time.

Example: episodes 0, 1 and 2 ask policy ``a``; episode 1 ends without a second request::

    round 1   a: [0, 1, 2]
    round 2   a: [0, 2]          # as soon as 1 has left and both others have asked, in whatever order
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from learners.errors import AbortedError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Run = Callable[[Sequence[Item]], Sequence[Answer]]

_session: ContextVar[Lockstep | None] = ContextVar("lockstep", default=None)


@dataclass(eq=False)
class _Ticket(Generic[Item, Answer]):
    """One pending item, and later its answer."""

    key: str
    position: tuple[int, int]
    item: Item
    run: Run[Item, Answer]
    caller: Hashable = None
    done: bool = False
    answer: Answer | None = None
    error: BaseException | None = field(default=None, repr=False)


class Session(Protocol):
    """What episodes that start together participate in."""

    def participant(self, number: int) -> AbstractContextManager[None]:
        """The calling thread participates as episode ``number`` until the block ends, however it ends."""
        ...

    def abort(self) -> None:
        """Every waiting and every later request raises ``AbortedError``."""
        ...


class Lockstep:
    """One session of ``participants`` threads, all of them counted before the first one starts."""

    def __init__(self, participants: int, turn: threading.Lock | None = None) -> None:
        """``turn``: held while a round runs; None: rounds of other sessions may run meanwhile."""
        self._active = participants
        self._turn = turn or threading.Lock()
        self._pending: list[_Ticket[Any, Any]] = []
        self._running = False
        self._aborted = False
        self._cancelled: set[Hashable] = set()
        self._changed = threading.Condition()

    @contextmanager
    def participant(self, number: int) -> Iterator[None]:
        """See ``Session``."""
        token = _session.set(self)
        try:
            yield
        finally:
            _session.reset(token)
            self.leave()

    def leave(self) -> None:
        """Removes one participant; the others no longer wait for it."""
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def call(
        self,
        key: str,
        position: tuple[int, int],
        item: Item,
        run: Run[Item, Answer],
        caller: Hashable = None,
    ) -> Answer:
        """Waits for the batch of ``item`` and returns its answer.

        Args:
            key: who answers. The items of one key in one round are one batch, run by the first one's ``run``.
            position: sort key within that batch.
            item: what to answer.
            run: items in order -> answers in order.
            caller: who asks, for ``cancel``.

        Raises:
            Exception: whatever the batch raised, in every thread that waited on it.
            AbortedError: the session was aborted, or ``caller`` was cancelled.
        """
        ticket = _Ticket(key, position, item, run, caller)
        with self._changed:
            self._pending.append(ticket)
            self._changed.notify_all()
            while not ticket.done:
                if self._aborted or caller in self._cancelled:
                    self._pending = [one for one in self._pending if one is not ticket]
                    raise AbortedError("the session was aborted")
                if not self._running and len(self._pending) == self._active:
                    self._run_round()
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

    def cancel(self, caller: Hashable) -> None:
        """Cancels the caller's pending requests and rejects later ones.

        Its participants still count: their episodes are to be played again under another caller's name.
        """
        with self._changed:
            self._cancelled.add(caller)
            self._pending = [ticket for ticket in self._pending if ticket.caller != caller]
            self._changed.notify_all()

    def _run_round(self) -> None:
        """Runs all pending tickets in the calling thread, which holds the lock; it is released meanwhile.

        ``_running`` keeps a second thread from starting a round before this one's answers are out.
        """
        tickets, self._pending, self._running = self._pending, [], True
        self._changed.release()
        try:
            with self._turn:
                for key in sorted({ticket.key for ticket in tickets}):
                    batch = sorted((t for t in tickets if t.key == key), key=lambda t: t.position)
                    _answer(batch, aborted=self._aborted)
        finally:
            self._changed.acquire()
            self._running = False
            for ticket in tickets:
                ticket.done = True
            self._changed.notify_all()


def call(key: str, position: tuple[int, int], item: Item, run: Run[Item, Answer]) -> Answer:
    """``Lockstep.call`` in the calling thread's session; outside of any session ``run`` is called at once."""
    session = _session.get()
    if session is None:
        (answer,) = run([item])
        return answer
    return session.call(key, position, item, run)


def _answer(batch: list[_Ticket[Any, Any]], *, aborted: bool) -> None:
    """Runs a batch, unless the session was ``aborted`` while the round waited for its turn."""
    try:
        if aborted:
            raise AbortedError("the session was aborted")
        answers = batch[0].run([ticket.item for ticket in batch])
        for ticket, answer in zip(batch, answers, strict=True):
            ticket.answer = answer
    except BaseException as error:  # raised again in each waiting thread, or they would wait forever
        for ticket in batch:
            ticket.error = error

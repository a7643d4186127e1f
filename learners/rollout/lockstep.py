"""Batches whose composition never depends on timing.

Episodes are threads, and each is a *participant* of one session. The session works in rounds:

1. A thread that wants a completion adds a request to the pending ones, and waits.
2. The round is complete once every participant either has a request pending or has left (its episode ended).
3. The thread that finds the round complete runs it: each policy's requests as one batch, sorted by episode
   number; one policy after the other, sorted by name.
4. Every waiting thread takes its own answer as soon as it is there (``deliver``) and plays on, until it needs
   its next completion.

So the same episodes always form the same batches, however long sandboxes and coaches take, and a resumed run
repeats an unbroken one bit for bit. The price: everybody waits for the slowest participant of each round, and
until the first answers of a batch are there no program runs. So episodes are played in several groups, each
with sessions of its own (``learners.rollout.threads.run_waves``): programs of one group run while a batch of
another is sampled. Sessions that share a ``turn`` run one round at a time.

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
_deliver: ContextVar[Callable[[int, Any], None] | None] = ContextVar("deliver", default=None)


@dataclass(eq=False)
class _Ticket(Generic[Item, Answer]):
    """One pending item, and later its answer. ``wake``: what its thread waits on."""

    key: str
    position: tuple[int, int]
    item: Item
    run: Run[Item, Answer]
    wake: threading.Condition
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
        self._waiting: set[_Ticket[Any, Any]] = set()
        """All tickets without an answer: the pending ones, and those of the round that runs."""
        self._running = False
        self._aborted = False
        self._cancelled: set[Hashable] = set()
        self._lock = threading.Lock()

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
        with self._lock:
            self._active -= 1
            self._wake_runner()

    def call(
        self,
        key: str,
        position: tuple[int, int],
        item: Item,
        run: Run[Item, Answer],
        caller: Hashable = None,
    ) -> Answer:
        """Waits for the answer to ``item`` and returns it.

        Args:
            key: who answers. The items of one key in one round are one batch, run by the first one's ``run``.
            position: sort key within that batch.
            item: what to answer.
            run: items in order -> answers in order; may ``deliver`` some of them earlier.
            caller: who asks, for ``cancel``.

        Raises:
            Exception: whatever the batch raised, in every thread that still waits for it.
            AbortedError: the session was aborted, or ``caller`` was cancelled.
        """
        ticket = _Ticket(key, position, item, run, threading.Condition(self._lock), caller)
        with self._lock:
            self._pending.append(ticket)
            self._waiting.add(ticket)
            while not ticket.done:
                if self._aborted or caller in self._cancelled:
                    self._pending = [one for one in self._pending if one is not ticket]
                    self._waiting.discard(ticket)
                    raise AbortedError("the session was aborted")
                if self._complete():
                    self._run_round()
                else:
                    ticket.wake.wait()
        if ticket.error is not None:
            raise ticket.error
        return cast(Answer, ticket.answer)

    def abort(self) -> None:
        """Every waiting and every later request raises ``AbortedError``."""
        with self._lock:
            self._aborted = True
            for ticket in self._waiting:
                ticket.wake.notify()

    def cancel(self, caller: Hashable) -> None:
        """Cancels the caller's pending requests and rejects later ones.

        Its participants still count: their episodes are to be played again under another caller's name.
        """
        with self._lock:
            self._cancelled.add(caller)
            self._pending = [ticket for ticket in self._pending if ticket.caller != caller]
            for ticket in self._waiting:
                ticket.wake.notify()

    def _complete(self) -> bool:
        """Whether every participant waits, so that a round can run."""
        return not self._running and len(self._pending) == self._active

    def _wake_runner(self) -> None:
        """Wakes one of the threads that wait, if a round can run: any of them runs it."""
        if self._pending and self._complete():
            self._pending[0].wake.notify()

    def _run_round(self) -> None:
        """Runs all pending tickets in the calling thread, which holds the lock; it is released meanwhile.

        ``_running`` keeps a second thread from starting a round before this one's answers are out.
        """
        tickets, self._pending, self._running = self._pending, [], True
        self._lock.release()
        try:
            with self._turn:
                for key in sorted({ticket.key for ticket in tickets}):
                    batch = sorted((t for t in tickets if t.key == key), key=lambda t: t.position)
                    self._answer(batch)
        finally:
            self._lock.acquire()
            self._running = False
            for ticket in tickets:
                self._end(ticket)
            self._wake_runner()

    def _answer(self, batch: Sequence[_Ticket[Any, Any]]) -> None:
        def hand_out(place: int, answer: Any) -> None:
            with self._lock:
                batch[place].answer = answer
                self._end(batch[place])

        token = _deliver.set(hand_out)
        try:
            if self._aborted:  # while the round waited for its turn
                raise AbortedError("the session was aborted")
            answers = batch[0].run([ticket.item for ticket in batch])
            for place, (_, answer) in enumerate(list(zip(batch, answers, strict=True))):
                hand_out(place, answer)
        except BaseException as error:  # raised again in each waiting thread, or they would wait forever
            for ticket in batch:
                if not ticket.done:
                    ticket.error = error
        finally:
            _deliver.reset(token)

    def _end(self, ticket: _Ticket[Any, Any]) -> None:
        """Lets the thread of a ticket take its answer or error. The caller holds the lock."""
        if not ticket.done:
            ticket.done = True
            self._waiting.discard(ticket)
            ticket.wake.notify()


def call(key: str, position: tuple[int, int], item: Item, run: Run[Item, Answer]) -> Answer:
    """``Lockstep.call`` in the calling thread's session; outside of any session ``run`` is called at once."""
    session = _session.get()
    if session is None:
        (answer,) = run([item])
        return answer
    return session.call(key, position, item, run)


def deliver(place: int, answer: object) -> None:
    """Hands out the answer to item ``place`` of the batch that the calling thread runs, before the others.

    The batch must return the same answer again. Outside of a session it does nothing.
    """
    if (hand_out := _deliver.get()) is not None:
        hand_out(place, answer)

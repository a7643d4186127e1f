"""Runs a function over many items in daemon threads, which do not delay the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from functools import partial
from typing import Generic, TypeVar

from learners.rollout.lockstep import Session

In = TypeVar("In")
Out = TypeVar("Out")


def run_waves(
    fn: Callable[[In], Out],
    items: Iterable[In],
    limit: int,
    groups: int,
    open_session: Callable[[Sequence[int]], Session],
) -> list[Out | Exception]:
    """``Runtime.map`` in ``groups`` of waves, at most ``limit`` threads in all.

    Item n is in group ``n % groups``. A group runs its items in waves of its own, each in an
    ``open_session(numbers of its items)``, and waits for no other group. What ends one group, such as an
    interrupt, ends all.
    """
    _check(limit)
    waves = _Waves(fn, list(items), open_session)
    groups = min(groups, limit)
    running = [
        in_background(partial(waves.run, group, groups, len(range(group, limit, groups))))
        for group in range(groups)
    ]
    try:
        ended, _ = wait(running, return_when=FIRST_EXCEPTION)
        if any(group.exception() for group in ended):
            waves.stop()
        for group in running:
            group.result()
    except BaseException:
        waves.stop()
        raise
    return _in_order(waves.results)


def run_pool(fn: Callable[[In], Out], items: Iterable[In], limit: int) -> list[Out | Exception]:
    """``Runtime.map`` in a pool of at most ``limit`` threads."""
    _check(limit)
    return _run_pool(fn, list(items), limit)


def in_background(work: Callable[[], Out]) -> Future[Out]:
    """Runs ``work`` in a daemon thread, which does not keep the process alive as an executor's thread
    would."""
    future: Future[Out] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again where the result is read
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _check(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")


class _Waves(Generic[In, Out]):
    """The waves of all groups of one ``run_waves``."""

    def __init__(
        self,
        fn: Callable[[In], Out],
        items: Sequence[In],
        open_session: Callable[[Sequence[int]], Session],
    ) -> None:
        self.results: dict[int, Out | BaseException] = {}
        self._fn = fn
        self._items = items
        self._open_session = open_session
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, group: int, groups: int, size: int) -> None:
        """Runs a group's items in waves of ``size``.

        Raises:
            BaseException: what an item raised that is no ``Exception``, once its wave has ended.
            Exception: no session could be opened.
        """
        numbers = range(group, len(self._items), groups)
        for start in range(0, len(numbers), size):
            wave = numbers[start : start + size]
            with self._lock:
                if self._stopped:
                    return
                session = self._sessions[group] = self._open_session(wave)
            _join([threading.Thread(target=self._work, args=(n, session), daemon=True) for n in wave])
            _in_order({number: self.results[number] for number in wave})

    def stop(self) -> None:
        """Releases whoever waits in a session, and lets no further wave start."""
        with self._lock:
            self._stopped = True
            for session in self._sessions.values():
                session.abort()

    def _work(self, number: int, session: Session) -> None:
        with session.participant(number):
            self.results[number] = _result(self._fn, self._items[number])


def _run_pool(fn: Callable[[In], Out], items: Sequence[In], limit: int) -> list[Out | Exception]:
    queue, lock, stopped = iter(range(len(items))), threading.Lock(), threading.Event()
    results: dict[int, Out | BaseException] = {}

    def work() -> None:
        while not stopped.is_set():
            with lock:
                index = next(queue, None)
            if index is None:
                return
            result = results[index] = _result(fn, items[index])
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                stopped.set()

    try:
        _join([threading.Thread(target=work, daemon=True) for _ in range(min(limit, len(items)))])
    finally:
        stopped.set()  # after an interrupt, no further item starts
    return _in_order(results)


def _result(fn: Callable[[In], Out], item: In) -> Out | BaseException:
    try:
        return fn(item)
    except BaseException as error:  # a thread has no caller to raise to: ``_in_order`` raises it
        return error


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_order(results: Mapping[int, Out | BaseException]) -> list[Out | Exception]:
    """The results by index. Raises the first that is no ``Exception``, such as an interrupt."""
    ordered: list[Out | Exception] = []
    for index in sorted(results):
        result = results[index]
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        ordered.append(result)
    return ordered

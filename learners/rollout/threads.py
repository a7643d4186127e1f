"""Runs a function over many items in daemon threads, which do not delay the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

from learners.rollout.lockstep import Session

In = TypeVar("In")
Out = TypeVar("Out")


def run_waves(
    fn: Callable[[In], Out], items: Iterable[In], limit: int, session: Callable[[int], Session]
) -> list[Out | Exception]:
    """``Runtime.map`` in waves of at most ``limit`` threads, each wave in a ``session(its size)``."""
    _check(limit)
    queue, results = iter(items), list[Out | Exception]()
    while wave := list(islice(queue, limit)):
        results += _run_wave(fn, wave, session(len(wave)))
    return results


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


def _run_wave(fn: Callable[[In], Out], wave: Sequence[In], session: Session) -> list[Out | Exception]:
    results: dict[int, Out | BaseException] = {}

    def work(index: int) -> None:
        with session.participant():
            results[index] = _result(fn, wave[index])

    try:
        _join([threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(wave))])
    except BaseException:
        session.abort()
        raise
    return _in_order(results)


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

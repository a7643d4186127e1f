"""A function over many items at once, in threads that do not hold up the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from learners.base import In, Out
from learners.rollout.lockstep import Session


def run_waves(
    fn: Callable[[In], Out], items: Iterable[In], limit: int, session: Callable[[int], Session]
) -> list[Out | Exception]:
    """``Runtime.map`` in waves of at most ``limit`` threads, each wave in a ``session(its size)``."""
    _check(limit)
    queue, results = iter(items), list[Out | Exception]()
    while wave := list(islice(queue, limit)):
        results += _wave(fn, wave, session(len(wave)))
    return results


def run_pool(fn: Callable[[In], Out], items: Iterable[In], limit: int) -> list[Out | Exception]:
    """``Runtime.map`` in a pool of at most ``limit`` threads."""
    _check(limit)
    return _pool(fn, list(items), limit)


def _check(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")


def _wave(fn: Callable[[In], Out], wave: Sequence[In], session: Session) -> list[Out | Exception]:
    results: dict[int, Out | BaseException] = {}

    def work(index: int) -> None:
        with session.player():
            results[index] = _caught(fn, wave[index])

    try:
        _join([threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(wave))])
    except BaseException:
        session.abort()
        raise
    return _sorted_out(results)


def _pool(fn: Callable[[In], Out], items: Sequence[In], limit: int) -> list[Out | Exception]:
    queue, lock, ended = iter(range(len(items))), threading.Lock(), threading.Event()
    results: dict[int, Out | BaseException] = {}

    def work() -> None:
        while not ended.is_set():
            with lock:
                index = next(queue, None)
            if index is None:
                return
            result = results[index] = _caught(fn, items[index])
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                ended.set()

    try:
        _join([threading.Thread(target=work, daemon=True) for _ in range(min(limit, len(items)))])
    finally:
        ended.set()  # after an interrupt, no further item begins
    return _sorted_out(results)


def _caught(fn: Callable[[In], Out], item: In) -> Out | BaseException:
    try:
        return fn(item)
    except BaseException as error:  # a thread has no caller: map sorts it out
        return error


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _sorted_out(results: Mapping[int, Out | BaseException]) -> list[Out | Exception]:
    found = [results[i] for i in sorted(results)]
    kept: list[Out | Exception] = []
    for result in found:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        kept.append(result)
    return kept

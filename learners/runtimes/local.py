"""Everything in this process: objects are plain objects, episodes are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from omegaconf import DictConfig

from learners.base import In, Out
from learners.build import Parts, assemble
from learners.lockstep import Lockstep, Session


class Local:
    """Runs items in waves of threads, or in a pool of them.

    Waves are for generators whose batches must not depend on timing (``learners.lockstep``): a pool hands a
    free slot to the next item as soon as one ends, so that timing decides which requests meet in a batch.
    """

    @dataclass
    class Config:
        torch_threads: int | None
        """Threads of one torch operation; None leaves torch's choice. One is best for models of a few million
        parameters. The number may change the last bits of results, so a resumed run must keep it."""

    restarts = 0  # nothing can be lost but all

    def __init__(self, config: Config) -> None:
        if config.torch_threads is not None:
            torch.set_num_threads(config.torch_threads)

    def assemble(self, config: DictConfig) -> Parts:
        """Everything in this process; raises as ``learners.build.build``."""
        return assemble(config, self)

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, waves: bool
    ) -> list[Out | Exception]:
        """Runs ``fn`` on every item, ``limit`` threads at once; results in the order of the items.

        An ``Exception`` stands where ``fn`` raised it. Anything graver, an interrupt say, is raised here.
        """
        return run_waves(fn, items, limit, Lockstep) if waves else run_pool(fn, items, limit)

    def each(self, fn: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """One after the other: they would share the processors anyway."""
        return [fn(item) for item in items]

    def close(self) -> None:
        """There is no other process."""


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

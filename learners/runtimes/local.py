"""Everything in this process: objects are plain objects, episodes are threads in lockstep."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from learners.base import In, Out
from learners.lockstep import Lockstep


class Local:
    """Runs items in waves of threads; see ``learners.lockstep`` for why waves and not a pool.

    A pool would hand a free slot to the next item as soon as one ends, and timing would decide which requests
    meet in a batch.
    """

    @dataclass
    class Config:
        torch_threads: int | None
        """Threads of one torch operation; None leaves torch's choice. One is best for models of a few million
        parameters. The number may change the last bits of results, so a resumed run must keep it."""

    def __init__(self, config: Config) -> None:
        if config.torch_threads is not None:
            torch.set_num_threads(config.torch_threads)

    def map(self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int) -> list[Out | Exception]:
        """Runs ``fn`` on every item, in waves of ``limit`` threads; results in the order of the items.

        An ``Exception`` stands where ``fn`` raised it. Anything graver, an interrupt say, is raised here.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        queue, results = iter(items), list[Out | Exception]()
        while wave := list(islice(queue, limit)):
            results += _play(fn, wave)
        return results


def _play(fn: Callable[[In], Out], wave: Sequence[In]) -> list[Out | Exception]:
    session = Lockstep(len(wave))
    results: dict[int, Out | BaseException] = {}

    def work(index: int) -> None:
        with session.player():
            try:
                results[index] = fn(wave[index])
            except BaseException as error:  # a thread has no caller: map sorts it out
                results[index] = error

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(wave))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        session.abort()
        raise
    found = [results[i] for i in range(len(wave))]
    kept: list[Out | Exception] = []
    for result in found:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        kept.append(result)
    return kept

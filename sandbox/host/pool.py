"""Keeps sandboxes warm: started in the background, handed out once, never taken back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from sandbox.base import Sandbox, SandboxError, SandboxSpec


class Warm(Sandbox, Protocol):
    """A sandbox that may have ended while it waited."""

    def alive(self) -> bool:
        """Whether it can still be handed out. Does not block."""
        ...


class _Start(Future[Warm]):
    """A sandbox that is ready, in the making, or to be made."""

    def __init__(self, spec: SandboxSpec) -> None:
        super().__init__()
        self.spec = spec

    def spoiled(self) -> bool:
        return self.done() and (self.exception() is not None or not self.result().alive())


class Pool:
    """Up to ``size`` warm sandboxes for each spec that was ever asked for; at most ``starting`` start at
    once, each in a thread of its own that ends with the start.

    What somebody waits for starts before what is made ahead. A start that fails is an error for the one who
    waits for it and for nobody else: one that nobody waited for is forgotten, and the next ``take`` orders
    another."""

    def __init__(self, start: Callable[[SandboxSpec], Warm], size: int, starting: int) -> None:
        """``start`` makes a sandbox or raises ``SandboxError``."""
        self._make, self._size, self._most = start, size, starting
        self._changed = threading.Condition()
        self._kept: dict[SandboxSpec, list[_Start]] = {}
        """Those that nobody has taken."""
        self._queue: deque[_Start] = deque()
        """Those that are to be made, the most urgent first."""
        self._starting = 0
        self._closed = False

    def take(self, spec: SandboxSpec) -> Warm:
        """The oldest sandbox for ``spec`` that is ready and alive, or the next to be ready.

        Raises:
            SandboxError: it could not be started, or the pool is closed.
        """
        with self._changed:
            if self._closed:
                raise SandboxError("the backend is closed")
            kept = self._kept.setdefault(spec, [])
            spoiled = [start for start in kept if start.spoiled()]
            kept[:] = sorted((start for start in kept if start not in spoiled), key=_Start.done, reverse=True)
            first = kept.pop(0) if kept else self._order(spec)
            if first in self._queue:
                self._queue.remove(first)
                self._queue.appendleft(first)
            while len(kept) < self._size:
                kept.append(self._order(spec))
            self._begin()
        _end(spoiled)
        return first.result()

    def close(self) -> None:
        """Ends the sandboxes that nobody took, and returns when no start is under way. Safe to call twice."""
        with self._changed:
            self._closed = True
            kept = [start for starts in self._kept.values() for start in starts if start.done()]
            queue = list(self._queue)
            self._kept.clear()
            self._queue.clear()
        for start in queue:
            start.set_exception(SandboxError("the backend was closed"))
        _end(kept)
        with self._changed:
            self._changed.wait_for(lambda: not self._starting)

    def _order(self, spec: SandboxSpec) -> _Start:
        start = _Start(spec)
        self._queue.append(start)
        return start

    def _begin(self) -> None:
        """Starts what is most urgent, as far as there is room."""
        while self._queue and self._starting < self._most:
            threading.Thread(
                target=self._run, args=(self._queue[0],), name="sandbox-start", daemon=True
            ).start()
            self._queue.popleft()
            self._starting += 1

    def _run(self, start: _Start) -> None:
        box: Warm | None = None
        failure: BaseException = SandboxError("the backend was closed")
        try:
            box = self._make(start.spec)
        except BaseException as error:  # whatever it is, it belongs to the one who waits
            failure = error
        with self._changed:
            if box and not self._closed:
                start.set_result(box)
                box = None
            else:
                start.set_exception(failure)
        try:
            if box:
                box.close()
        finally:
            with self._changed:
                self._starting -= 1
                self._begin()
                self._changed.notify_all()


def _end(starts: list[_Start]) -> None:
    for start in starts:
        if start.exception() is None:
            start.result().close()

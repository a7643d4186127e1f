"""Keeps sandboxes warm: started in the background, handed out once, never taken back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from sandbox.base import Sandbox, SandboxError, SandboxSpec


class Warm(Sandbox, Protocol):
    """A sandbox that may have ended while it was idle in the pool."""

    def alive(self) -> bool:
        """Returns whether it can still be handed out. Does not block."""
        ...


class _Start(Future[Warm]):
    """A sandbox that is ready, starting, or queued."""

    def __init__(self, spec: SandboxSpec) -> None:
        super().__init__()
        self.spec = spec

    def failed(self) -> bool:
        return self.done() and (self.exception() is not None or not self.result().alive())


class Pool:
    """Keeps up to ``size`` warm sandboxes for each spec that was ever requested. At most ``starting`` start
    at once, each in a thread of its own that ends with the start.

    Requested sandboxes start before those made in advance. A failed start is an error for the caller that
    waits for it and for no other: a failure that nobody waited for is dropped, and the next ``take`` orders
    another start."""

    def __init__(self, start: Callable[[SandboxSpec], Warm], size: int, starting: int) -> None:
        """``start`` starts a sandbox or raises ``SandboxError``."""
        self._make, self._size, self._max_starting = start, size, starting
        self._changed = threading.Condition()
        self._kept: dict[SandboxSpec, list[_Start]] = {}
        """Those that no caller has taken."""
        self._queue: deque[_Start] = deque()
        """Those that wait to start, the most urgent first."""
        self._starting = 0
        self._closed = False

    def take(self, spec: SandboxSpec) -> Warm:
        """Returns the oldest sandbox for ``spec`` that is ready and alive, or the next to become ready.

        Raises:
            SandboxError: it could not be started, or the pool is closed.
        """
        with self._changed:
            if self._closed:
                raise SandboxError("the backend is closed")
            kept = self._kept.setdefault(spec, [])
            dead = [start for start in kept if start.failed()]
            kept[:] = sorted((start for start in kept if start not in dead), key=_Start.done, reverse=True)
            first = kept.pop(0) if kept else self._order(spec)
            if first in self._queue:
                self._queue.remove(first)
                self._queue.appendleft(first)
            while len(kept) < self._size:
                kept.append(self._order(spec))
            self._begin()
        _end(dead)
        return first.result()

    def close(self) -> None:
        """Ends the sandboxes that no caller took, and returns when no start is in progress. Safe to call
        twice."""
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
        """Starts the most urgent ones, as many as may start at once."""
        while self._queue and self._starting < self._max_starting:
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
        except BaseException as error:  # whatever it is, the waiting caller gets it
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

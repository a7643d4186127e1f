"""Keeps sandboxes warm: started in the background, handed out once, never taken back."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from sandbox.base import Sandbox, SandboxError, SandboxSpec


class Pool:
    """Up to ``size`` ready sandboxes for each spec that was ever asked for; ``starting`` start at once."""

    def __init__(self, start: Callable[[SandboxSpec], Sandbox], size: int, starting: int) -> None:
        self._start, self._size = start, size
        self._starters = ThreadPoolExecutor(starting, thread_name_prefix="sandbox-start")
        self._lock = threading.Lock()
        self._waiting: dict[SandboxSpec, deque[Future[Sandbox]]] = {}
        self._closed = False

    def take(self, spec: SandboxSpec) -> Sandbox:
        """The oldest sandbox for ``spec``, or the next to be ready. Raises ``SandboxError``."""
        with self._lock:
            if self._closed:
                raise SandboxError("the backend is closed")
            waiting = self._waiting.setdefault(spec, deque())
            while len(waiting) <= self._size:
                waiting.append(self._starters.submit(self._start, spec))
            first = waiting.popleft()
        return first.result()

    def close(self) -> None:
        """Ends the sandboxes that nobody took. Safe to call twice."""
        with self._lock:
            self._closed = True
            left = [future for waiting in self._waiting.values() for future in waiting]
            self._waiting.clear()
        self._starters.shutdown(cancel_futures=True)
        for future in left:
            if not future.cancelled():
                with contextlib.suppress(SandboxError):
                    future.result().close()

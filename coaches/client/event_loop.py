"""An asyncio event loop in a thread of its own, for callers that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class EventLoopThread:
    """A daemon thread that runs an event loop; it starts with the first call of ``run``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.at_end: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Coroutine functions to await when the loop ends."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` in the loop, waits for it and returns its result."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run_loop, args=(self._loop,), name="endpoint", daemon=True
                )
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Stops the loop and awaits ``at_end``."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        # The garbage collector may call this in the thread itself, which cannot join itself.
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2.0)

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        for close in self.at_end:
            loop.run_until_complete(close())
        loop.close()

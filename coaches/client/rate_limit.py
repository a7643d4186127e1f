"""Rate limits of an endpoint: requests and tokens per minute, and the pauses that it asks for.

Not ``aiolimiter``: its leaky bucket lets up to twice the limit through within a minute after idle time,
cannot be told afterwards how many tokens a request really took, rejects a request larger than the limit, and
cannot be paused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds of the sliding window in which requests and tokens are counted."""


@dataclass
class Admission:
    """A request that was let through."""

    at: float
    """``time.monotonic()`` of the admission."""
    tokens: int
    """An estimate, which the caller replaces once it knows the real number."""


class RateLimiter:
    """Admits requests in the order in which they arrive. For use in one event loop.

    It does not know what other processes send to the same endpoint; the endpoint's own 429 responses cover
    that.
    """

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        """``requests``, ``tokens``: the most per minute; None: no limit."""
        self._requests = requests
        self._tokens = tokens
        self._admitted: deque[Admission] = deque()
        self._held_until = 0.0
        self._queue = asyncio.Lock()

    async def admit(self, tokens: int) -> Admission:
        """Waits until a request of about ``tokens`` tokens may be sent. One larger than the limit is sent
        alone."""
        async with self._queue:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            admission = Admission(time.monotonic(), tokens)
            self._admitted.append(admission)
            return admission

    def hold(self, seconds: float) -> None:
        """Admits nothing for this many seconds, as the endpoint asked."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _wait(self, tokens: int) -> float:
        """Returns the seconds to wait before checking again; 0 if the request may be sent now."""
        now = time.monotonic()
        while self._admitted and self._admitted[0].at <= now - WINDOW:
            self._admitted.popleft()
        if now < self._held_until:
            return self._held_until - now
        full = self._requests is not None and len(self._admitted) >= self._requests
        used = sum(admission.tokens for admission in self._admitted)
        full |= self._tokens is not None and bool(self._admitted) and used + tokens > self._tokens
        return self._admitted[0].at + WINDOW - now if full else 0.0

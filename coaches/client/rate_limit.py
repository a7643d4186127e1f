"""How fast an endpoint may be asked: requests and tokens a minute, and the pauses that it asks for."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds that a rate is counted over."""


@dataclass
class Ticket:
    """One request that was let through."""

    at: float
    tokens: int


class Limiter:
    """Lets requests through in the order of their coming. For use in one event loop.

    What other processes ask of the same endpoint is not known here; the endpoint's own 429 tells.
    """

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        """``requests``, ``tokens``: most a minute; None: as many as come."""
        self._requests = requests
        self._tokens = tokens
        self._passed: deque[Ticket] = deque()
        self._held_until = 0.0
        self._queue = asyncio.Lock()

    async def admit(self, tokens: int) -> Ticket:
        """Waits until a request of about so many tokens may be sent. One too big for a minute goes alone."""
        async with self._queue:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            ticket = Ticket(time.monotonic(), tokens)
            self._passed.append(ticket)
            return ticket

    def hold(self, seconds: float) -> None:
        """Lets nothing through for so long: the endpoint has said so."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _wait(self, tokens: int) -> float:
        """Seconds until it is worth looking again; 0: now."""
        now = time.monotonic()
        while self._passed and self._passed[0].at <= now - WINDOW:
            self._passed.popleft()
        if now < self._held_until:
            return self._held_until - now
        full = self._requests is not None and len(self._passed) >= self._requests
        used = sum(ticket.tokens for ticket in self._passed)
        full |= self._tokens is not None and bool(self._passed) and used + tokens > self._tokens
        return self._passed[0].at + WINDOW - now if full else 0.0

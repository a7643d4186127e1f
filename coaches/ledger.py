"""What verdicts cost, and a limit that they never pass."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from coaches.base import BudgetError
from conf import ConfigError


@dataclass
class Prices:
    """US dollars for a million tokens."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Ledger:
    """Money spent by one process. Safe for many threads.

    Every request first sets aside the most it can cost, so that the limit holds whatever is under way; what
    it really cost is booked when that is known. A request whose cost is never told (a time-out, a broken
    connection) is booked at the most.
    """

    def __init__(self, prices: Prices, max_cost: float | None) -> None:
        """Raises ``ConfigError`` for a limit that nothing could reach."""
        if max_cost is not None and not prices.prompt + prices.completion > 0:
            raise ConfigError("coach llm: max_cost needs prices; without them nothing would count against it")
        self.prices = prices
        self._max_cost = max_cost
        self._lock = threading.Lock()
        self._spent = 0.0
        self._set_aside = 0.0

    @property
    def spent(self) -> float:
        """US dollars booked so far, requests that gave no verdict included."""
        return self._spent

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Sets aside what a request can cost at most, in US dollars.

        Raises:
            BudgetError: that could pass the limit.
        """
        most = self.prices.cost(prompt_tokens, completion_tokens)
        with self._lock:
            if self._max_cost is not None and self._spent + self._set_aside + most > self._max_cost:
                raise BudgetError(
                    f"the coach's budget of {self._max_cost:g} USD is used up (max_cost): {self._spent:.4f} "
                    f"spent, {self._set_aside:.4f} under way, and the next request may cost {most:.4f}"
                )
            self._set_aside += most
        return most

    def settle(self, reserved: float, cost: float) -> None:
        """Books what a request cost, in place of what was set aside for it."""
        with self._lock:
            self._set_aside -= reserved
            self._spent += cost

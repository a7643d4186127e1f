"""What requests cost, and a limit that they never pass."""

from __future__ import annotations

import asyncio
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
    """Money spent by one process. For use in one event loop.

    Every request first sets aside the most it can cost, so that the limit holds whatever is under way; what
    it really cost is booked when that is known. A request whose cost is never told (a time-out, a broken
    connection) is booked at the most.
    """

    def __init__(self, prices: Prices, max_cost: float | None, *, owner: str = "coach llm") -> None:
        """``max_cost``: in US dollars; None: no limit. ``owner``: whose money it is, for messages.

        Raises ``ConfigError`` for a limit without prices.
        """
        if max_cost is not None and not prices.prompt + prices.completion > 0:
            raise ConfigError(f"{owner}: max_cost needs prices; without them nothing would count against it")
        self.prices = prices
        self._owner = owner
        self._max_cost = max_cost
        self._set_aside = 0.0
        self._settled = asyncio.Condition()
        self.spent = 0.0
        """US dollars booked so far, requests that gave no verdict included."""

    async def reserve(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Sets aside what a request can cost at most, in US dollars, and says how much that is.

        Where only what is under way stands against it, waits for what that will really have cost.

        Raises:
            BudgetError: it could pass the limit.
        """
        most = self.prices.cost(prompt_tokens, completion_tokens)
        async with self._settled:
            while self._max_cost is not None and self.spent + self._set_aside + most > self._max_cost:
                if self._set_aside == 0:
                    raise BudgetError(
                        f"{self._owner}: the budget of {self._max_cost:g} USD is used up (max_cost): "
                        f"{self.spent:.4f} is spent, and the next request may cost {most:.4f}"
                    )
                await self._settled.wait()
            self._set_aside += most
        return most

    async def settle(self, reserved: float, cost: float) -> None:
        """Books what a request cost, in place of what was set aside for it."""
        self._set_aside -= reserved
        if abs(self._set_aside) < 1e-9:
            self._set_aside = 0.0  # sums of decimals leave crumbs
        self.spent += cost
        async with self._settled:
            self._settled.notify_all()

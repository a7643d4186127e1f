"""What requests cost, and a budget that they never exceed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from coaches.base import BudgetError
from conf import ConfigError
from conf.ranges import NonNegative


@dataclass
class Prices:
    """US dollars per million tokens."""

    prompt: NonNegative
    completion: NonNegative

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Returns the cost in US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Ledger:
    """Money spent by one process. For use in one event loop.

    Every request first reserves the most it can cost, so that concurrent requests never exceed the budget;
    its actual cost is booked once it is known. A request whose cost is never reported (a timeout, a broken
    connection) is booked at the most it can cost.
    """

    def __init__(self, prices: Prices, max_cost: float | None, *, owner: str = "coach llm") -> None:
        """``max_cost``: in US dollars; None: no limit. ``owner``: the part that spends it, for messages.

        Raises ``ConfigError`` for a limit without prices.
        """
        if max_cost is not None and not prices.prompt + prices.completion > 0:
            raise ConfigError(f"{owner}: max_cost needs prices; without them every request costs nothing")
        self.prices = prices
        self._owner = owner
        self._max_cost = max_cost
        self._reserved = 0.0
        self._settled = asyncio.Condition()
        self.spent = 0.0
        """US dollars booked so far, including requests without a usable reply."""

    async def reserve(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Reserves the most that a request can cost and returns it, in US dollars.

        If only the reservations of concurrent requests stand in the way, waits for their actual costs.

        Raises:
            BudgetError: the request could exceed the budget.
        """
        most = self.prices.cost(prompt_tokens, completion_tokens)
        async with self._settled:
            while self._max_cost is not None and self.spent + self._reserved + most > self._max_cost:
                if self._reserved == 0:
                    raise BudgetError(
                        f"{self._owner}: the budget of {self._max_cost:g} USD is used up (max_cost): "
                        f"{self.spent:.4f} is spent, and the next request may cost {most:.4f}"
                    )
                await self._settled.wait()
            self._reserved += most
        return most

    async def settle(self, reserved: float, cost: float) -> None:
        """Books the actual cost of a request in place of its reservation."""
        self._reserved -= reserved
        if abs(self._reserved) < 1e-9:
            self._reserved = 0.0  # rounding errors of the sum
        self.spent += cost
        async with self._settled:
            self._settled.notify_all()

"""A language model that acts for every agent, behind any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import conf
from coaches.client.budget import Ledger, Prices
from coaches.client.config import EndpointConfig
from coaches.client.errors import EmptyReplyError
from coaches.client.openai_client import Endpoint
from conf import ConfigError
from conf.ranges import NonNegative, Positive
from envs.types import Message


class ModelTeam:
    """Sends the agent's observation to the model and returns the reply as the action.

    ``coach.team={name: coaches.replay.teams.model, endpoint: {model: qwen3-4b, temperature: 1.0}}``. Nothing
    is cached. The seed is not sent, because not every endpoint accepts one: samples differ by the model's own
    randomness.
    """

    @dataclass(frozen=True)
    class Config:
        endpoint: dict[str, Any] = field(default_factory=dict)
        """Settings of ``coaches.client.config.EndpointConfig``; missing ones are those of the coach ``llm``,
        but without structured output."""
        prompt_price: NonNegative = 0.0
        """US dollars per million tokens."""
        completion_price: NonNegative = 0.0
        max_cost: Positive | None = None
        """US dollars that one process may spend; null: no limit."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for invalid settings or a missing API key."""
        base = conf.to_dict(conf.load("coach", "llm").endpoint) | {"structured": "off"}
        if unknown := sorted(config.endpoint.keys() - base.keys()):
            raise ConfigError(f"team: unknown settings of the endpoint: {', '.join(unknown)}")
        prices = Prices(config.prompt_price, config.completion_price)
        ledger = Ledger(prices, config.max_cost, owner="team")
        self._endpoint = Endpoint(EndpointConfig(**(base | config.endpoint)), ledger, owner="team")

    def check_ready(self) -> None:
        """Asks the server for one short reply. Raises ``ConfigError`` if there is none, and says why."""
        self._endpoint.probe()

    def act(self, agent: str, messages: Sequence[Message], seed: int) -> str:
        """Returns the model's reply to ``messages``.

        Raises:
            CoachError: one of ``coaches.client.errors``.
            BudgetError: the request could exceed ``max_cost``.
        """
        return self._endpoint.ask(messages, (None, None, None), _nonempty).value


def _nonempty(reply: str) -> str:
    if not reply.strip():
        raise EmptyReplyError("the reply is empty")
    return reply

"""A language model that plays every agent, behind any OpenAI-compatible endpoint."""

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
from envs.types import Message


class ModelTeam:
    """Reads what the agent reads, and answers as the agent; what samples differ by is the model's own chance.

    ``coach.team={name: coaches.replay.teams.model, endpoint: {model: qwen3-4b, temperature: 1.0}}``. Nothing is
    cached, and the seed is not sent: not every endpoint knows one.
    """

    @dataclass(frozen=True)
    class Config:
        endpoint: dict[str, Any] = field(default_factory=dict)
        """Settings of ``coaches.client.openai_client.EndpointConfig``; what is left out is as for the coach ``llm``, but
        without structured output."""
        prompt_price: float = 0.0
        """US dollars for a million tokens."""
        completion_price: float = 0.0
        max_cost: float | None = None
        """US dollars that one process may spend."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for settings that cannot be, or a key that is not there."""
        base = conf.to_dict(conf.load("coach", "llm").endpoint) | {"structured": "off"}
        if unknown := sorted(config.endpoint.keys() - base.keys()):
            raise ConfigError(f"team: an endpoint has no setting {', '.join(unknown)}")
        prices = Prices(config.prompt_price, config.completion_price)
        self._endpoint = Endpoint(EndpointConfig(**(base | config.endpoint)), Ledger(prices, config.max_cost))

    def act(self, agent: str, messages: Sequence[Message], seed: int) -> str:
        """The model's reply to ``messages``.

        Raises:
            CoachError: one of ``coaches.client.errors``.
            BudgetError: the request could pass ``max_cost``.
        """
        return self._endpoint.ask(messages, (None, None, None), _said).value


def _said(reply: str) -> str:
    if not reply.strip():
        raise EmptyReplyError("the reply is empty")
    return reply

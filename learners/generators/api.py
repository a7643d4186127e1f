"""Samples from any OpenAI-compatible server: to evaluate and diagnose hosted models, never to train them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coaches.base import CoachError
from coaches.client.budget import Ledger, Prices
from coaches.client.config import EndpointConfig, ServerConfig
from coaches.client.errors import RequestError
from coaches.client.openai_client import Answer, Endpoint
from coaches.client.wire import Reply
from conf import ConfigError
from envs.types import Message
from learners.base import EpisodeError, TrainingError
from learners.types import Bill, Completion

log = logging.getLogger(__name__)

OWNER = "generator=api"
SENT = ("temperature", "seed")
HOPELESS = (401, 403, 404)
"""Statuses that every later request would meet too: the key, or the model's name, is wrong."""


class Api:
    """Text in and text out: a server's ids and logprobs, if it tells any, are not those of our templates.

    So completions hold none, their ``weight_version`` is 0, and nothing can learn from them. Whatever the
    model says is its action: a refusal, nothing at all, or what there was when it ran out of tokens. Thinking
    that the server tells apart stands first in it, between ``<think>`` and ``</think>``, as it does where
    this process samples. A request that is not answered, after all retries, loses its episode.

    Every request has a seed of its own; whether the same one gives the same text is up to the server.
    """

    trains = False
    lockstep = False

    @dataclass
    class Config:
        endpoint: ServerConfig
        models: dict[str, str]
        """Policies that another model of the same server plays, say an adapter: ``{modeler: my-lora}``;
        all others are played by ``endpoint.model``."""
        send: list[str]
        """Which of ``temperature`` and ``seed`` go into a request; some models refuse one."""
        prices: Prices
        max_cost: float | None
        """US dollars that one process may spend; None: no limit."""

    def __init__(self, config: Config, *, policies: Collection[str]) -> None:
        """Asks every model for one reply, so that what cannot work shows now.

        Raises:
            ConfigError: the server cannot be reached, or refuses; its own words say why.
        """
        if unknown := [name for name in config.send if name not in SENT]:
            raise ConfigError(f"{OWNER}: generator.send may hold {' and '.join(SENT)}, not {unknown[0]!r}")
        if strangers := sorted(config.models.keys() - set(policies)):
            raise ConfigError(f"{OWNER}: generator.models names no policy of the run: {strangers[0]}")
        self.config = config
        endpoint = EndpointConfig(**asdict(config.endpoint), temperature=None, structured="off")
        self._endpoint = Endpoint(endpoint, Ledger(config.prices, config.max_cost, owner=OWNER), owner=OWNER)
        for model in dict.fromkeys(self._model(policy) for policy in policies):
            self._greet(model)

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """One completion, blocking; many threads may ask at once.

        Raises:
            EpisodeError: there was none to be had; the episode is lost.
            TrainingError: the server will answer no request any more, say because the key was withdrawn.
            BudgetError: the request could pass ``max_cost``.
        """
        try:
            answer = self._ask(self._model(policy), messages, seed, temperature)
        except RequestError as error:
            if error.status in HOPELESS:
                raise TrainingError(f"{OWNER}: {error}") from None
            raise EpisodeError(str(error)) from None
        except CoachError as error:
            raise EpisodeError(str(error)) from None
        return Completion(
            text=answer.value.text,
            prompt_ids=(),
            token_ids=(),
            logprobs=(),
            weight_version=0,
            finish_reason="length" if answer.value.cut else "stop",
            bill=_bill(answer),
        )

    def sync(self, policy: str, version: int) -> None:
        """Raises ``TrainingError``: a server's weights are not ours to change."""
        raise TrainingError(f"{OWNER} is for inference: it cannot take weights")

    def sleep(self) -> None:
        """Nothing of ours takes memory."""

    def wake(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Ends the connections."""
        self._endpoint.close()

    def _model(self, policy: str) -> str:
        return self.config.models.get(policy, self.config.endpoint.model)

    def _ask(
        self, model: str, messages: Sequence[Message], seed: int, temperature: float, *, patient: bool = True
    ) -> Answer[Reply]:
        """``seed`` is cut to 31 bits, which every server can take."""
        sampling: dict[str, Any] = {"temperature": temperature, "seed": seed % 2**31}
        fields = {"model": model} | {name: sampling[name] for name in self.config.send}
        return self._endpoint.complete(messages, fields, patient=patient)

    def _greet(self, model: str) -> None:
        where = self.config.endpoint.base_url
        log.info("asking %s for %s", where, model)
        try:
            self._ask(model, (Message("user", "Say: ready"),), seed=0, temperature=1.0, patient=False)
        except CoachError as error:
            self.close()
            hint = " (generator.send says which sampling settings are sent)" if _names_setting(error) else ""
            raise ConfigError(f"{OWNER}: {where} does not serve {model}: {error}{hint}") from None


def _names_setting(error: CoachError) -> bool:
    return isinstance(error, RequestError) and any(name in str(error) for name in SENT)


def _bill(answer: Answer[Reply]) -> Bill:
    """No prompt has no tokens: where a count says so, the server has told none."""
    usage = answer.usage
    if not usage.prompt_tokens:
        return Bill(None, None, answer.cost)
    return Bill(usage.prompt_tokens, usage.completion_tokens, answer.cost)

"""Samples from any OpenAI-compatible server: to evaluate and diagnose hosted models, never to train."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coaches.base import CoachError
from coaches.client.budget import Ledger, Prices
from coaches.client.config import EndpointConfig, ServerConfig
from coaches.client.errors import RequestError, ServerError
from coaches.client.openai_client import Endpoint, ParsedReply
from coaches.client.wire import Reply
from conf import ConfigError
from conf.ranges import Positive
from envs.styles import check_style
from envs.types import Message
from learners.errors import EpisodeError, TrainingError
from learners.generators.base import InferenceOnly
from learners.models.chat_template import merge_system
from learners.types import Bill, Completion

log = logging.getLogger(__name__)

OWNER = "generator=api"
SAMPLING = ("temperature", "seed")
GREETING = (Message("system", "Do as you are told."), Message("user", "Say: ready"))
PERMANENT = (401, 403, 404)
"""Statuses that every later request would get too: the key or the name of the model is wrong."""


class Api(InferenceOnly):
    """Text in and text out: a server's token ids and logprobs, if it reports any, do not match our templates.

    So completions have none, their ``weight_version`` is 0, and nothing can be trained on them. Whatever the
    model writes is its action: a refusal, an empty text, or what it had written when it ran out of tokens.
    Thinking that the server returns separately is put first, between ``<think>`` and ``</think>``, as models
    that this process samples from write it. If a request fails after all retries, its episode is lost.

    Every request has a seed of its own; whether the same seed gives the same text is up to the server.
    """

    @dataclass
    class Config:
        style: str
        """The default of ``env.style``, because ``model`` is not what acts."""
        endpoint: ServerConfig
        models: dict[str, str]
        """Policies that use another model of the same server, such as an adapter: ``{modeler: my-lora}``;
        all others use ``endpoint.model``."""
        send: list[str]
        """Which of ``temperature`` and ``seed`` go into a request; some models refuse one."""
        prices: Prices
        max_cost: Positive | None
        """US dollars that one process may spend; None: no limit."""

    def __init__(self, config: Config, *, policies: Collection[str]) -> None:
        """Asks every model for one reply, so that mistakes show before a run starts.

        Raises:
            ConfigError: the server cannot be reached, or refuses; its message says why.
        """
        check_style("generator.style", config.style)
        if unknown := [name for name in config.send if name not in SAMPLING]:
            raise ConfigError(
                f"{OWNER}: generator.send may contain {' and '.join(SAMPLING)}, not {unknown[0]!r}"
            )
        if unused := sorted(config.models.keys() - set(policies)):
            raise ConfigError(f"{OWNER}: generator.models names no policy of the run: {unused[0]}")
        self.config = config
        endpoint = EndpointConfig(**asdict(config.endpoint), temperature=None, structured="off")
        self._endpoint = Endpoint(endpoint, Ledger(config.prices, config.max_cost, owner=OWNER), owner=OWNER)
        self._merges_system: set[str] = set()
        for model in dict.fromkeys(self._model(policy) for policy in policies):
            self._try(model)

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """Returns one completion; blocking. Many threads may call at once.

        Raises:
            EpisodeError: there is no completion; the episode is lost.
            TrainingError: no later request can succeed, for example because the key was revoked.
            BudgetError: the request could exceed ``max_cost``.
        """
        try:
            answer = self._ask(self._model(policy), messages, seed, temperature)
        except RequestError as error:
            if error.status in PERMANENT:
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
            finish_reason="length" if answer.value.truncated else "stop",
            bill=_bill(answer),
        )

    def close(self) -> None:
        """Closes the connections."""
        self._endpoint.close()

    def _model(self, policy: str) -> str:
        return self.config.models.get(policy, self.config.endpoint.model)

    def _ask(
        self, model: str, messages: Sequence[Message], seed: int, temperature: float, *, patient: bool = True
    ) -> ParsedReply[Reply]:
        """``seed`` is reduced to 31 bits, which every server accepts."""
        sampling: dict[str, Any] = {"temperature": temperature, "seed": seed % 2**31}
        fields = {"model": model} | {name: sampling[name] for name in self.config.send}
        given = merge_system(messages) if model in self._merges_system else messages
        return self._endpoint.complete(given, fields, patient=patient)

    def _try(self, model: str) -> None:
        where = self.config.endpoint.base_url
        log.info("asking %s for %s", where, model)
        try:
            self._try_roles(model)
        except CoachError as error:
            self.close()
            hint = " (generator.send says which sampling settings are sent)" if _names_setting(error) else ""
            raise ConfigError(f"{OWNER}: {where} does not serve {model}: {error}{hint}") from None

    def _try_roles(self, model: str) -> None:
        """Asks as agents do. A server whose template refuses the system role is asked again without it."""
        try:
            self._ask(model, GREETING, seed=0, temperature=1.0, patient=False)
        except (RequestError, ServerError) as error:
            if not _may_mean_roles(error):
                raise
            self._merges_system.add(model)
            try:
                self._ask(model, GREETING, seed=0, temperature=1.0, patient=False)
            except CoachError:
                raise error from None
            log.info("%s refuses the system role: its text goes into the first user message", model)


def _may_mean_roles(error: RequestError | ServerError) -> bool:
    """Whether the server may have refused the system role. Servers pass on what their template raises, and
    many with status 500."""
    if isinstance(error, ServerError):
        return any(word in str(error).lower() for word in ("system", "role", "template", "jinja"))
    return error.status not in PERMANENT and not _names_setting(error)


def _names_setting(error: CoachError) -> bool:
    return isinstance(error, RequestError) and any(name in str(error) for name in SAMPLING)


def _bill(answer: ParsedReply[Reply]) -> Bill:
    """No prompt is empty: a count of 0 means that the server reports no counts."""
    usage = answer.usage
    if not usage.prompt_tokens:
        return Bill(None, None, answer.cost)
    return Bill(usage.prompt_tokens, usage.completion_tokens, answer.cost)

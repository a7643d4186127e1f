"""A client of one OpenAI-compatible endpoint for many threads: rate limits, retries, deadlines, structured
output."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay

from coaches.base import BudgetError, CoachError, Usage
from coaches.client import errors, wire
from coaches.client.budget import Ledger
from coaches.client.config import LEVELS, EndpointConfig, check, key
from coaches.client.event_loop import EventLoopThread
from coaches.client.rate_limit import Admission
from coaches.client.session import Session
from conf import ConfigError
from envs.types import Message

log = logging.getLogger(__name__)
T = TypeVar("T")

PROBE_SECONDS = 10.0
"""How long ``Endpoint.probe`` repeats a request that a server is too busy for."""
_PROBE = (Message("system", "Reply briefly."), Message("user", "Say: ready"))
"""In the roles of a coach's questions, because the templates of some models refuse the system role."""


@dataclass(frozen=True)
class ParsedReply(Generic[T]):
    """What was read from a reply, and what it took to get it."""

    value: T
    usage: Usage
    cost: float
    """US dollars, for all requests that it took."""


class Endpoint:
    """Blocks its callers, in any number of threads; the requests run in one event loop in a thread of its
    own.

    The API key is read once, from the environment, and removed from everything that the endpoint returns
    before any other code sees it.
    """

    def __init__(self, config: EndpointConfig, ledger: Ledger, *, owner: str = "coach llm") -> None:
        """``owner``: the part whose settings these are, for messages.

        Raises ``ConfigError`` for invalid settings or a missing API key.
        """
        check(config, owner)
        self.config = config
        self.ledger = ledger
        self._key = key(config.key_env, owner)
        self._thread = EventLoopThread()
        self._session: Session | None = None
        self._level = 0 if config.structured == "auto" else LEVELS.index(config.structured)
        self._level_works = config.structured != "auto"
        self._lock = threading.Lock()
        self._logged: set[str] = set()
        self._owner = owner
        self._lost = False
        """Whether the server could not be reached until a deadline and has not replied since."""
        weakref.finalize(self, self._thread.close)

    def ask(
        self,
        messages: Sequence[Message],
        schemas: Sequence[dict[str, Any] | None],
        read: Callable[[str], T],
    ) -> ParsedReply[T]:
        """Sends ``messages`` until ``read`` accepts a reply, and returns what it read.

        ``read`` raises ``errors.ReplyError`` for a reply that it cannot use; the messages are then sent again
        with a note that says what was wrong.

        Args:
            messages: the chat to send.
            schemas: the JSON Schema for each of ``LEVELS``.
            read: parses the text of a reply.

        Raises:
            CoachError: one of ``coaches.client.errors``.
            BudgetError: a request could exceed the budget.
        """
        return self._exchange(_Exchange(tuple(messages), tuple(schemas)), read)

    def probe(self) -> None:
        """Asks for one short reply, so that a server that is missing, or refuses, shows before a run starts.

        Raises:
            ConfigError: the server cannot be reached, or does not reply as one; the message says why.
        """
        where, model = self.config.base_url, self.config.model
        log.info("asking %s for %s", where, model)
        try:
            self.complete(_PROBE, {}, patient=False)
        except (CoachError, BudgetError) as error:
            raise ConfigError(f"{self._owner}: {where} does not serve {model}: {error}") from None

    def complete(
        self, messages: Sequence[Message], fields: Mapping[str, Any], *, patient: bool = True
    ) -> ParsedReply[wire.Reply]:
        """Returns the model's reply to ``messages`` even if it is truncated, empty or a refusal; without
        structured output.

        A response that is not a chat completion is requested again, with exactly the same messages.

        Args:
            messages: the chat to send.
            fields: more fields of the request's body; those of ``config.extra`` take precedence.
            patient: whether to retry until the deadline. If not, a lost connection or a late reply is final,
                and a busy server is asked again for ``PROBE_SECONDS``.

        Raises:
            CoachError: one of ``coaches.client.errors``.
            BudgetError: a request could exceed the budget.
        """
        exchange = _Exchange(tuple(messages), (None,) * len(LEVELS), fields, wire.reply, False, patient)
        exchange.plain = True
        return self._exchange(exchange, lambda reply: reply)

    def close(self) -> None:
        """Ends the thread and the connections; no further calls are allowed."""
        self._thread.close()

    def _exchange(self, exchange: _Exchange, read: Callable[[Any], T]) -> ParsedReply[T]:
        try:
            parsed = self._thread.run(self._within_deadline(exchange, read))
        except CoachError as error:
            self._lost = isinstance(error, errors.ConnectionLostError)
            self._log_first(error)
            raise
        self._lost = False
        return parsed

    async def _within_deadline(self, exchange: _Exchange, read: Callable[[Any], T]) -> ParsedReply[T]:
        """Waits for a slot and the rate limits, which no deadline covers, and then for the reply, which one
        does."""
        if self._session is None:
            self._session = Session(self.config, self._key, self._owner)
            self._thread.at_end.append(self._session.close)
        session = self._session
        async with session.slots:
            exchange.admission = await session.limiter.admit(self._estimated_tokens(exchange))
            start = time.monotonic()
            try:
                async with asyncio.timeout(self.config.deadline):
                    value = await self._with_retries(session, exchange, read)
            except TimeoutError:
                late = errors.DeadlineError(f"no reply within {self.config.deadline:g} s")
                raise exchange.last_error or late from None
        seconds = round(time.monotonic() - start, 3)
        return ParsedReply(value, Usage(*exchange.tokens, exchange.calls, seconds), exchange.cost)

    async def _with_retries(self, session: Session, exchange: _Exchange, read: Callable[[Any], T]) -> T:
        """Retries transient errors, with pauses, for as long as the next attempt would start before the
        deadline.

        Not for a server that has been waited for until a deadline: its loss would cost every turn as much.
        """

        seconds = self.config.deadline if exchange.patient else min(PROBE_SECONDS, self.config.deadline)
        too_late = stop_before_delay(seconds)

        def give_up(state: RetryCallState) -> bool:
            lost = isinstance(_transient(state).error, errors.ConnectionLostError)
            late = isinstance(_transient(state).error, errors.DeadlineError)
            if not exchange.patient and (lost or late):
                return True
            return (lost and self._lost) or too_late(state)

        def pause(state: RetryCallState) -> float:
            return wire.pause(_transient(state), self.config.backoff, state.attempt_number - 1)

        def hold_others(state: RetryCallState) -> None:
            if _transient(state).retry_after is not None:
                session.limiter.hold(state.upcoming_sleep)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(wire.TransientError),
            stop=give_up,
            wait=pause,
            before_sleep=hold_others,
            reraise=True,
        )
        exchange.level = LEVELS.index("off") if exchange.plain else self._level
        try:
            return await retrying(self._until_read, session, exchange, read)
        except wire.TransientError as transient:
            raise transient.error from None

    async def _until_read(self, session: Session, exchange: _Exchange, read: Callable[[Any], T]) -> T:
        """Sends the request until ``read`` accepts a reply: again if it does not, in another form if
        refused."""
        while True:
            try:
                reply = await self._send(session, exchange)
                if not self._level_works and not exchange.plain:
                    self._level, self._level_works = exchange.level, True
                return read(reply)
            except errors.ReplyError as error:
                if exchange.format_retries == self.config.format_retries:
                    raise
                exchange.format_retries += 1
                exchange.complaint = str(error) if exchange.explains else ""
            except wire.SchemaRefusedError:
                exchange.level = self._level if self._level_works else exchange.level + 1

    async def _send(self, session: Session, exchange: _Exchange) -> Any:
        """Sends one request, books its tokens and its cost, and returns what ``exchange.extract`` makes of
        the body."""
        admission = exchange.admission or await session.limiter.admit(self._estimated_tokens(exchange))
        exchange.admission = None
        reserved = await self.ledger.reserve(exchange.most_prompt_tokens(), self.config.max_tokens)
        cost = reserved  # until it is known to be less
        exchange.calls += 1
        try:
            body = await session.post(self._body(exchange))
            used = wire.usage(body)
            if used is not None:
                cost, admission.tokens = self.ledger.prices.cost(*used), sum(used)
                exchange.tokens = (exchange.tokens[0] + used[0], exchange.tokens[1] + used[1])
            return exchange.extract(body)
        except wire.SchemaRefusedError as refused:
            cost = 0.0
            if self._level_works and exchange.level >= self._level:
                raise refused.otherwise from None
            raise
        except errors.RequestError:
            cost = 0.0
            raise
        except wire.TransientError as transient:
            exchange.last_error = transient.error
            cost = 0.0 if transient.unbilled else reserved
            raise
        finally:
            exchange.cost += cost
            await self.ledger.settle(reserved, cost)

    def _estimated_tokens(self, exchange: _Exchange) -> int:
        """Estimates the tokens of a request: four characters each, plus the longest reply."""
        return sum(len(message.content) for message in exchange.messages) // 4 + self.config.max_tokens

    def _body(self, exchange: _Exchange) -> dict[str, Any]:
        config, level = self.config, exchange.level
        body: dict[str, Any] = {
            "model": config.model,
            "messages": [{"role": m.role, "content": m.content} for m in exchange.current_messages()],
            config.max_tokens_key: config.max_tokens,
        }
        if config.temperature is not None:
            body["temperature"] = config.temperature
        schema = exchange.schemas[level]
        if LEVELS[level] == "json_schema":
            named = {"name": "verdict", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif LEVELS[level] == "json_object":
            body["response_format"] = {"type": "json_object", "schema": schema}
        return body | dict(exchange.fields) | config.extra

    def _log_first(self, error: CoachError) -> None:
        """Logs the first error of each cause; all errors are counted elsewhere."""
        with self._lock:
            cause = type(error).__name__
            first = cause not in self._logged
            self._logged.add(cause)
        if first:
            log.warning("no reply from %s: %s: %s", self.config.model, cause, error)


def _transient(state: RetryCallState) -> wire.TransientError:
    """Returns the error of the attempt that just failed."""
    assert state.outcome is not None
    return cast(wire.TransientError, state.outcome.exception())


@dataclass
class _Exchange:
    """The state of one call: all requests that it takes to get one usable reply."""

    messages: tuple[Message, ...]
    schemas: tuple[dict[str, Any] | None, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request's body."""
    extract: Callable[[Any], Any] = wire.text
    """Gets what is wanted from a response's body. Raises ``errors.ReplyError``."""
    explains: bool = True
    """Whether the model is told what was wrong with a reply that could not be used."""
    patient: bool = True
    """Whether to retry until the deadline."""
    plain: bool = False
    """Whether no structured output is requested, whatever the settings say."""
    level: int = 0
    """Index in ``LEVELS`` of the next request."""
    admission: Admission | None = None
    """The rate limiter's permission for the first request, granted before the deadline starts."""
    last_error: CoachError | None = None
    complaint: str = ""
    format_retries: int = 0
    calls: int = 0
    tokens: tuple[int, int] = (0, 0)
    """Prompt and completion tokens of all requests for which the endpoint reported them."""
    cost: float = 0.0

    def current_messages(self) -> tuple[Message, ...]:
        """Returns the messages, with a note about the last reply if it could not be used."""
        if not self.complaint:
            return self.messages
        last = self.messages[-1]
        note = f"(Your previous reply could not be used: {self.complaint}. Reply again.)"
        return (*self.messages[:-1], Message(last.role, f"{last.content}\n\n{note}"))

    def most_prompt_tokens(self) -> int:
        """Returns an upper bound: no token is shorter than a byte, and a few delimit each message."""
        return sum(len(message.content.encode()) + 16 for message in self.current_messages())

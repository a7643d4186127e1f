"""One OpenAI-compatible endpoint, asked by many threads: limits, retries, deadlines, structured output."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from coaches.base import CoachError, Usage
from coaches.client import errors, wire
from coaches.client.budget import Ledger
from coaches.client.config import LEVELS, EndpointConfig, check, key
from coaches.client.rate_limit import Limiter, Ticket
from envs.types import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What was read from a reply, and what it took."""

    value: T
    usage: Usage
    cost: float
    """US dollars, for all requests that it took."""


class Endpoint:
    """Blocking for its callers, in any number of threads; inside, one event loop in a thread of its own.

    The key is read once, from the environment, and taken out of all that the endpoint says, before anybody
    else sees it.
    """

    def __init__(self, config: EndpointConfig, ledger: Ledger, *, owner: str = "coach llm") -> None:
        """``owner``: whose settings these are, for messages.

        Raises ``ConfigError`` for settings that cannot be, or a key that is not there.
        """
        check(config, owner)
        self.config = config
        self.ledger = ledger
        self._key = key(config.key_env, owner)
        self._background = _Background()
        self._session: _Session | None = None
        self._level = 0 if config.structured == "auto" else LEVELS.index(config.structured)
        self._level_works = config.structured != "auto"
        self._lock = threading.Lock()
        self._told: set[str] = set()
        weakref.finalize(self, self._background.close)

    def ask(
        self,
        messages: Sequence[Message],
        schemas: Sequence[dict[str, Any] | None],
        read: Callable[[str], T],
    ) -> Answer[T]:
        """Sends ``messages`` until ``read`` makes something of a reply.

        ``schemas``: the JSON schema that each of ``LEVELS`` asks for. ``read`` raises ``errors.ReplyError``
        for a reply that says nothing; then the same messages are sent again, with a word on what was wrong.

        Raises:
            CoachError: one of ``coaches.client.errors``.
            BudgetError: a request could pass the limit on costs.
        """
        return self._talk(_Talk(tuple(messages), tuple(schemas)), read)

    def complete(
        self, messages: Sequence[Message], fields: Mapping[str, Any], *, patient: bool = True
    ) -> Answer[wire.Reply]:
        """Whatever the model says to ``messages``, be it cut off, empty or a refusal; ``structured`` is off.

        ``fields`` go into the request's body, where ``config.extra`` does not set them. What is no chat
        completion is asked for again with the same messages, and not a word more. ``patient``: whether a
        server that cannot be reached is waited for.

        Raises:
            CoachError: one of ``coaches.client.errors``.
            BudgetError: a request could pass the limit on costs.
        """
        talk = _Talk(tuple(messages), (None,) * len(LEVELS), fields, wire.reply, False, patient)
        return self._talk(talk, lambda reply: reply)

    def close(self) -> None:
        """Ends the thread and the connections; nothing is asked any more."""
        self._background.close()

    def _talk(self, talk: _Talk, read: Callable[[Any], T]) -> Answer[T]:
        try:
            return self._background.run(self._ask(talk, read))
        except CoachError as error:
            self._tell(error)
            raise

    async def _ask(self, talk: _Talk, read: Callable[[Any], T]) -> Answer[T]:
        if self._session is None:
            self._session = _Session(self.config, self._key)
            self._background.at_end.append(self._session.close)
        session = self._session
        async with session.slots:
            talk.ticket = await session.limiter.admit(self._tokens(talk))
            began = time.monotonic()
            talk.deadline = began + self.config.deadline
            try:
                async with asyncio.timeout(self.config.deadline):
                    value = await self._until_read(session, talk, read)
            except TimeoutError:
                late = errors.DeadlineError(f"no answer to be had within {self.config.deadline:g} s")
                raise talk.fault or late from None
        seconds = round(time.monotonic() - began, 3)
        return Answer(value, Usage(*talk.tokens, talk.calls, seconds), talk.cost)

    async def _until_read(self, session: _Session, talk: _Talk, read: Callable[[Any], T]) -> T:
        retries, level = 0, self._level
        while True:
            try:
                reply = await self._send(session, talk, level)
                if not self._level_works:
                    self._level, self._level_works = level, True
                return read(reply)
            except errors.ReplyError as error:
                if talk.asked_again == self.config.format_retries:
                    raise
                talk.asked_again += 1
                talk.complaint = str(error) if talk.complains else ""
            except wire.SchemaRefusedError:
                level = self._level if self._level_works else level + 1
            except wire.TransientError as passing:
                talk.fault = passing.error
                pause = wire.pause(passing, self.config.backoff, retries)
                retries += 1
                gone = not talk.patient and isinstance(passing.error, errors.ConnectionLostError)
                if gone or time.monotonic() + pause >= talk.deadline:
                    raise passing.error from None
                if passing.retry_after is not None:
                    session.limiter.hold(pause)
                await asyncio.sleep(pause)

    async def _send(self, session: _Session, talk: _Talk, level: int) -> Any:
        """One request: what ``talk.take`` makes of its reply. Books its tokens and its cost."""
        ticket = talk.ticket or await session.limiter.admit(self._tokens(talk))
        talk.ticket = None
        reserved = await self.ledger.reserve(talk.most_prompt_tokens(), self.config.max_tokens)
        cost = reserved  # what is not known to be less
        talk.calls += 1
        try:
            body = await session.post(self._body(talk, level))
            used = wire.usage(body)
            if used is not None:
                cost, ticket.tokens = self.ledger.prices.cost(*used), sum(used)
                talk.tokens = (talk.tokens[0] + used[0], talk.tokens[1] + used[1])
            return talk.take(body)
        except wire.SchemaRefusedError as refused:
            cost = 0.0
            if self._level_works and level >= self._level:
                raise refused.otherwise from None
            raise
        except errors.RequestError:
            cost = 0.0
            raise
        except wire.TransientError as passing:
            cost = 0.0 if passing.unbilled else reserved
            raise
        finally:
            talk.cost += cost
            await self.ledger.settle(reserved, cost)

    def _tokens(self, talk: _Talk) -> int:
        """About how many a request takes, before it is known: four characters each, and the longest reply."""
        return sum(len(message.content) for message in talk.messages) // 4 + self.config.max_tokens

    def _body(self, talk: _Talk, level: int) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            "model": config.model,
            "messages": [{"role": m.role, "content": m.content} for m in talk.now()],
            config.max_tokens_key: config.max_tokens,
        }
        if config.temperature is not None:
            body["temperature"] = config.temperature
        schema = talk.schemas[level]
        if LEVELS[level] == "json_schema":
            named = {"name": "verdict", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif LEVELS[level] == "json_object":
            body["response_format"] = {"type": "json_object", "schema": schema}
        return body | dict(talk.fields) | config.extra

    def _tell(self, error: CoachError) -> None:
        """The first of each cause is worth a line in the log; all of them are counted elsewhere."""
        with self._lock:
            cause = type(error).__name__
            first = cause not in self._told
            self._told.add(cause)
        if first:
            log.warning("no answer from %s: %s: %s", self.config.model, cause, error)


@dataclass
class _Talk:
    """All that is said to reach one answer."""

    messages: tuple[Message, ...]
    schemas: tuple[dict[str, Any] | None, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More of the request's body."""
    take: Callable[[Any], Any] = wire.text
    """What is wanted of a reply's body. Raises ``errors.ReplyError``."""
    complains: bool = True
    """Whether the model is told what was wrong with a reply that could not be read."""
    patient: bool = True
    """Whether a server that cannot be reached is waited for."""
    ticket: Ticket | None = None
    deadline: float = 0.0
    fault: CoachError | None = None
    complaint: str = ""
    asked_again: int = 0
    calls: int = 0
    tokens: tuple[int, int] = (0, 0)
    """Prompt and completion tokens, of all requests that told."""
    cost: float = 0.0

    def now(self) -> tuple[Message, ...]:
        """The messages, with a word on the last reply if that could not be read."""
        if not self.complaint:
            return self.messages
        last = self.messages[-1]
        again = f"(You were asked before, and your answer could not be used: {self.complaint}. Answer anew.)"
        return (*self.messages[:-1], Message(last.role, f"{last.content}\n\n{again}"))

    def most_prompt_tokens(self) -> int:
        """No token is shorter than a byte; some mark where a message begins and ends."""
        return sum(len(message.content.encode()) + 16 for message in self.now())


class _Session:
    """What lives in the event loop: the client, the queue and the limits."""

    def __init__(self, config: EndpointConfig, key: str | None) -> None:
        self._client = _client(config, key)
        self._key = key
        self._timeout = config.timeout
        self.slots = asyncio.Semaphore(config.concurrency)
        self.limiter = Limiter(config.requests_per_minute, config.tokens_per_minute)

    async def close(self) -> None:
        await self._client.close()

    async def post(self, body: dict[str, Any]) -> Any:
        """The reply's JSON. Raises what ``wire`` makes of all else."""
        import openai

        create = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self._timeout):  # the client's own starts anew with every byte
                raw = await create(**_arguments(body))
                return wire.body(wire.redacted(raw.http_response.text, self._key))
        except (TimeoutError, openai.APITimeoutError):
            late = errors.DeadlineError(f"no answer within {self._timeout:g} s")
            raise wire.TransientError(late) from None
        except openai.APIStatusError as error:
            said = wire.redacted(error.response.text, self._key)
            raise wire.fault(error.status_code, error.response.headers, said, body) from None
        except openai.APIConnectionError as error:
            reason = wire.redacted(str(error.__cause__ or error), self._key)
            gone = errors.ConnectionLostError(f"the connection failed: {reason or 'no reason given'}")
            raise wire.TransientError(gone) from None


class _Background:
    """An event loop in a daemon thread, started when first used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.at_end: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """What to await when the loop ends."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` in the loop and waits for it."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._turn, args=(self._loop,), name="endpoint", daemon=True
                )
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Ends the loop and what lives in it."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:  # garbage is collected in any thread
            self._thread.join(timeout=2.0)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        for close in self.at_end:
            loop.run_until_complete(close())
        loop.close()


def _client(config: EndpointConfig, key: str | None) -> AsyncOpenAI:
    from openai import AsyncOpenAI  # half a second that a run with another coach does without

    client = AsyncOpenAI(
        base_url=config.base_url, api_key=key or "none", max_retries=0, timeout=config.timeout
    )
    client.organization = client.project = None  # of whoever set OPENAI_ORG_ID: not for this endpoint to know
    return client


def _arguments(body: dict[str, Any]) -> dict[str, Any]:
    """The client's own checks know fewer fields than endpoints do: all but two go around them."""
    known = {key: body[key] for key in ("model", "messages")}
    return known | {"extra_body": {key: value for key, value in body.items() if key not in known}}

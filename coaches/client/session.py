"""The connection to one OpenAI-compatible endpoint: the only module that imports openai."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from coaches.client import errors, wire
from coaches.client.config import EndpointConfig
from coaches.client.rate_limit import RateLimiter
from conf import ConfigError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECT_SECONDS = 10.0
"""The most that a connection may take to be made."""


class Session:
    """What belongs to the event loop: the client, the queue and the rate limits."""

    def __init__(self, config: EndpointConfig, key: str | None, owner: str) -> None:
        self._client = _client(config, key, owner)
        self._key = key
        self._timeout = config.timeout
        self.slots = asyncio.Semaphore(config.concurrency)
        self.limiter = RateLimiter(config.requests_per_minute, config.tokens_per_minute)

    async def close(self) -> None:
        await self._client.close()

    async def post(self, body: dict[str, Any]) -> Any:
        """Returns the response's JSON; every failure becomes one of the errors of ``wire`` and ``errors``."""
        import openai

        create = self._client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self._timeout):  # the client's own timeout restarts with every byte
                raw = await create(**_arguments(body))
                return wire.body(wire.redacted(raw.http_response.text, self._key))
        except (TimeoutError, openai.APITimeoutError) as error:
            if type(error.__cause__).__name__ == "ConnectTimeout":
                lost = errors.ConnectionLostError(f"the connection failed: none within {CONNECT_SECONDS:g} s")
                raise wire.TransientError(lost) from None
            late = errors.DeadlineError(f"no response within {self._timeout:g} s")
            raise wire.TransientError(late) from None
        except openai.APIStatusError as error:
            text = wire.redacted(error.response.text, self._key)
            raise wire.status_error(error.status_code, error.response.headers, text, body) from None
        except openai.APIConnectionError as error:
            reason = wire.redacted(str(error.__cause__ or error), self._key)
            lost = errors.ConnectionLostError(f"the connection failed: {reason or 'no reason given'}")
            raise wire.TransientError(lost) from None


def _client(config: EndpointConfig, key: str | None, owner: str) -> AsyncOpenAI:
    # openai takes half a second to import; runs with other coaches do not need it
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    timeout = Timeout(config.timeout, connect=min(CONNECT_SECONDS, config.timeout))
    # No proxy of the environment leads to this machine itself.
    direct: dict[str, Any] = {"trust_env": False, "verify": ssl.create_default_context()}
    try:
        transport = DefaultAsyncHttpxClient(
            timeout=timeout, **(direct if wire.is_loopback(config.base_url) else {})
        )
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{owner}: the proxy of the environment cannot be used: {reason}") from None
    # The client's own retries are off: each request must be admitted, reserved and booked on its own.
    client = AsyncOpenAI(
        base_url=config.base_url,
        api_key=key or "none",
        max_retries=0,
        timeout=timeout,
        http_client=transport,
    )
    client.organization = client.project = None  # read from OPENAI_ORG_ID: not this endpoint's business
    return client


def _arguments(body: dict[str, Any]) -> dict[str, Any]:
    """Passes all but two fields around the client's validation, which knows fewer fields than endpoints
    do."""
    known = {key: body[key] for key in ("model", "messages")}
    return known | {"extra_body": {key: value for key, value in body.items() if key not in known}}

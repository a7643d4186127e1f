"""Settings of an OpenAI-compatible endpoint, and their validation."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from conf import ConfigError
from conf.ranges import Count, Natural, NonNegative, Positive

LEVELS = ("json_schema", "json_object", "off")
"""Ways to request structured output, best first: OpenAI's; llama.cpp's, which takes a schema as well;
none."""

_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass
class ServerConfig:
    """Where the model is, and how requests are sent."""

    base_url: str
    """The address up to and including ``/v1``, without any key."""
    model: str
    key_env: str | None
    """The environment variable with the API key; None: the endpoint needs no key."""
    max_tokens: Count
    """The most tokens of a reply, thinking included."""
    max_tokens_key: str
    """The endpoint's name for it: ``max_tokens`` or ``max_completion_tokens``."""
    extra: dict[str, Any]
    """More fields of the request's body, e.g. ``{reasoning_effort: low}``."""
    concurrency: Count
    """The most concurrent requests."""
    requests_per_minute: Count | None
    """None: no limit."""
    tokens_per_minute: Count | None
    """None: no limit."""
    timeout: Positive
    """Seconds for one request."""
    deadline: Positive
    """Seconds for one usable reply, including retries and pauses but not the wait for a slot or a rate
    limit."""
    backoff: NonNegative
    """Seconds before the first retry; doubled for each further one, with jitter."""
    format_retries: Natural
    """How often to ask again after a reply that cannot be used."""


@dataclass
class EndpointConfig(ServerConfig):
    """Server settings plus the form of replies."""

    temperature: NonNegative | None
    """None: not sent, for models that reject it."""
    structured: str
    """``auto``, ``json_schema``, ``json_object`` or ``off``. ``auto``: the first one that the endpoint
    accepts."""


def key(variable: str | None, owner: str) -> str | None:
    """Returns the API key from the environment variable. Raises ``ConfigError`` if it is not set."""
    if variable is None:
        return None
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(f"{owner}: set the environment variable {variable} to the API key")
    return value


def check(config: EndpointConfig, owner: str) -> None:
    """Raises ``ConfigError`` for invalid settings."""
    try:
        address = urlsplit(config.base_url)
        host, port = (address.hostname or "").encode("idna"), address.port
    except ValueError as error:  # also of a name that cannot be one
        raise ConfigError(
            f"{owner}: endpoint.base_url {config.base_url!r:.200} is no address: {error}"
        ) from None
    if address.scheme not in ("http", "https") or not host or port == 0 or _BLANK.search(config.base_url):
        raise ConfigError(
            f"{owner}: endpoint.base_url must be an http or https address, not {config.base_url!r:.200}"
        )
    if address.username or address.password or address.query:
        raise ConfigError(
            f"{owner}: endpoint.base_url must not contain a key, which would be written to the run folder; "
            "name the environment variable with the key in endpoint.key_env"
        )
    if not config.model.strip():
        raise ConfigError(f"{owner}: endpoint.model is empty: name a model that the server has")
    if config.structured not in ("auto", *LEVELS):
        raise ConfigError(f"{owner}: endpoint.structured must be auto or one of {', '.join(LEVELS)}")
    least = {
        "concurrency": 1,
        "max_tokens": 1,
        "timeout": 0,
        "deadline": 0,
        "backoff": 0,
        "format_retries": 0,
    }
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise ConfigError(f"{owner}: endpoint.{name} must be at least {bound}")
    for name in ("requests_per_minute", "tokens_per_minute"):
        if getattr(config, name) is not None and getattr(config, name) < 1:
            raise ConfigError(f"{owner}: endpoint.{name} must be at least 1, or null for no limit")

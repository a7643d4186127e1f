"""Where a model is asked: settings of an OpenAI-compatible server, and what is wrong with them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from conf import ConfigError

LEVELS = ("json_schema", "json_object", "off")
"""Ways to ask for structured output, best first: OpenAI's; llama.cpp's, with the schema beside it; none."""


@dataclass
class ServerConfig:
    """Where a model is asked, and how hard."""

    base_url: str
    """Up to and with ``/v1``. No key may be in it."""
    model: str
    key_env: str | None
    """The environment variable that holds the key; None: the endpoint asks for none."""
    max_tokens: int
    """Of a reply, thinking included."""
    max_tokens_key: str
    """What the endpoint calls that: ``max_tokens``, or ``max_completion_tokens``."""
    extra: dict[str, Any]
    """More of the request's body, e.g. ``{reasoning_effort: low}``."""
    concurrency: int
    """Requests under way at once."""
    requests_per_minute: int | None
    tokens_per_minute: int | None
    timeout: float
    """Seconds for one request."""
    deadline: float
    """Seconds for one answer, retries and pauses included; waiting for its turn is not."""
    backoff: float
    """Seconds before the first retry; doubled each time, with jitter."""
    format_retries: int
    """How often a reply that cannot be read is asked for again."""


@dataclass
class EndpointConfig(ServerConfig):
    """And what is asked of every reply."""

    temperature: float | None
    """None: not sent, for models that refuse it."""
    structured: str
    """``auto``, ``json_schema``, ``json_object`` or ``off``. ``auto`` takes the first that is not refused."""


def key(variable: str | None, owner: str) -> str | None:
    """What the environment variable holds. Raises ``ConfigError`` where it holds nothing."""
    if variable is None:
        return None
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(f"{owner}: its key is expected in the environment variable {variable}")
    return value


def check(config: EndpointConfig, owner: str) -> None:
    """Raises ``ConfigError`` for settings that cannot be."""
    address = urlsplit(config.base_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigError(f"{owner}: endpoint.base_url must be an http or https address")
    if address.username or address.password or address.query:
        raise ConfigError(
            f"{owner}: endpoint.base_url must hold no key, which would reach the run folder; "
            "endpoint.key_env names the environment variable for it"
        )
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

"""Has an algorithm all that is asked of it? Examined before a run starts, so torch is not loaded here."""

from __future__ import annotations

from typing import Any

from conf import ConfigError

_METHODS = ("advantages", "token_weights", "loss")


def check_members(algorithm: Any) -> None:
    """Raises ``ConfigError`` if ``algorithm`` lacks a member of ``Algorithm``."""
    where = f"algorithm {type(algorithm).__module__}.{type(algorithm).__qualname__}"
    for name in _METHODS:
        if not callable(getattr(algorithm, name, None)):
            raise ConfigError(f"{where}: lacks the method {name}; an algorithm has {', '.join(_METHODS)}")
    if not isinstance(getattr(algorithm, "needs_reference", None), bool):
        raise ConfigError(f"{where}: lacks needs_reference, which is true or false")


def check_terms(algorithm: type[Any]) -> None:
    """Raises ``ConfigError`` if an algorithm's class does not tell what its loss makes of single tokens."""
    if not callable(getattr(algorithm, "terms", None)):
        raise ConfigError(
            f"record.tokens: algorithm {algorithm.__module__}.{algorithm.__qualname__} lacks the method "
            "terms, which learners.algorithms.base.PolicyGradient has: set record.tokens=none"
        )

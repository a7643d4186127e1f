"""The exception of every mistake in a configuration."""

from __future__ import annotations


class ConfigError(Exception):
    """Invalid user configuration. The message is one clear line; commands print it without a traceback."""

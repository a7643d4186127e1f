"""How messages count things."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Returns ``1 turn``, ``2 turns``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

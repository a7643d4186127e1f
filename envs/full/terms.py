"""The conditions under which agents act, as the style ``full`` states them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from envs.episode.sessions import SHARED
from envs.types import Role
from sandbox.base import Limits

_FRESH = (
    "Each program starts in a fresh interpreter in the working folder: variables and imports do not last "
    "from one program to the next, files do."
)


@dataclass(frozen=True)
class Terms:
    """What holds for every program and every reply of an environment."""

    timeout: float
    """Seconds for one program."""
    limits: Limits
    libraries: tuple[str, ...]
    """``("Python 3.11.4", "numpy 2.4.6", "lightgbm==4.6.0")``."""
    network: bool
    """Whether programs may reach a network: nothing isolates them from it."""
    output_chars: int
    """Characters of stdout, and of stderr, that agents read."""
    shared: bool
    """Whether the programs of one agent share an interpreter (``envs.episode.sessions``)."""
    reply_tokens: int | Mapping[str, int | None] | None = field(hash=False)  # a mapping has no hash
    """Tokens in one reply, maybe by agent; None: unknown."""


@lru_cache
def rules(role: Role, terms: Terms) -> str:
    """Returns what ``role`` may do, and what ends its part."""
    acting = _running(terms) if role.can_run_code else ["You cannot run code. Reply with text."]
    return "\n".join(f"- {line}" for line in [*acting, *_ending(role, terms)])


def _running(terms: Terms) -> Iterator[str]:
    limits = terms.limits
    yield (
        "To run a program, write Python between ```python and ```. All Python blocks of a reply run as one "
        "program."
    )
    yield SHARED if terms.shared else _FRESH
    yield (
        f"Limits of a program: {terms.timeout:g} seconds, {limits.memory_mb} MB of memory, "
        f"{limits.disk_mb} MB of files in the working folder, {limits.file_mb} MB for a single file."
    )
    if terms.libraries:
        yield f"Installed: {', '.join(terms.libraries)}."
    if not terms.network:
        yield "There is no network, so nothing can be downloaded or installed."
    yield (
        f"You read at most {terms.output_chars} characters of stdout and as many of stderr: the middle of a "
        "longer output is left out."
    )


def _ending(role: Role, terms: Terms) -> Iterator[str]:
    told = terms.reply_tokens
    tokens = told.get(role.name) if isinstance(told, Mapping) else told
    if tokens is not None:
        yield (f"A reply has at most {tokens} tokens, thinking included; a longer one is cut off there.")
    if role.can_run_code and role.max_turns > 1:
        yield (
            f"You have {role.max_turns} turns, and every reply uses one. A reply without a program ends your "
            "part early; the last turn ends it in any case."
        )
        yield "A reply that cannot be read uses its turn, and you are told why. It does not end your part."
    elif role.max_turns > 1:
        yield f"Your first reply ends your part, unless it cannot be read. You have {role.max_turns} turns."
    else:
        yield "You have one turn."

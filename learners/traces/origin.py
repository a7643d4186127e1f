"""Where spans come from: the run, and the models that played."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """What the spans of all episodes of a run have in common."""

    id: str
    """32 hexadecimal digits. Equal for a run and a copy of it, and throughout its resumptions."""
    run: str
    """Name of its folder, or of the file of its episodes."""
    environment: str
    """"" if it is not known."""
    settings: Mapping[str, Any]
    """More attributes of the resource: coach, algorithm, seed, version."""
    models: Mapping[str, str]
    """Agent -> the model that plays it; of a file of episodes alone none are known."""
    hosted: frozenset[str]
    """Agents whose model is on a server."""
    temperatures: Mapping[str, float]
    """Phase -> temperature of sampling."""
    recorded: float
    """Seconds since 1970 at which the episodes began that do not say when they were played."""

    def trace_id(self, episode: str, task: str, seed: Any) -> int:
        """Returns the id of an episode's trace. An episode that is played again keeps it."""
        return int.from_bytes(_digest(self.id, episode, task, str(seed))[:16], "big")


def span_id(trace: int, place: str) -> int:
    """Returns the id of the span at a place of an episode, such as ``3/chat``."""
    return int.from_bytes(_digest(f"{trace:032x}", place)[:8], "big")


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).digest()

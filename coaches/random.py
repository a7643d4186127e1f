"""A control: scores drawn at random, so that a benchmark of coaches has a floor to stand on."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coaches.base import Verdict
from conf import ConfigError
from envs.types import Turn


class Random:
    """Scores every turn uniformly in [0, 10], whatever it is, and blames nobody.

    The same turn asked about again gets another draw; what is drawn depends on the seed, the turn and how
    often it was asked about. Threads that ask about the same turn at once may get each other's draws.
    """

    @dataclass(frozen=True)
    class Config:
        seed: int
        """At least 0."""

    def __init__(self, config: Config) -> None:
        """Raises ``ConfigError`` for a negative seed."""
        if config.seed < 0:
            raise ConfigError(f"coach random: seed must be at least 0, not {config.seed}")
        self._seed = config.seed
        self._lock = threading.Lock()
        self._asked: Counter[int] = Counter()

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """The verdict on the last turn. Never raises ``CoachError``."""
        turn = history[-1]
        words = "\0".join((turn.task_id, str(turn.index), turn.agent, turn.action))
        key = int.from_bytes(hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        with self._lock:
            time = self._asked[key]
            self._asked[key] += 1
        score = float(np.random.default_rng((self._seed, key, time)).uniform(0.0, 10.0))
        return Verdict(score, "drawn at random", source="random")

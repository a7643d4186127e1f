"""A control: random scores, the lower bound in a benchmark of coaches."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coaches.base import Verdict
from conf.ranges import Seed
from envs.types import Turn


class Random:
    """Scores every turn uniformly at random in [0, 10] and blames nobody.

    The score depends on the seed, the turn, and how many times that turn was judged before: judging it again
    draws a new score. Threads that judge the same turn concurrently may get each other's draws.
    """

    @dataclass(frozen=True)
    class Config:
        seed: Seed
        """At least 0."""

    def __init__(self, config: Config) -> None:
        self._seed = config.seed
        self._lock = threading.Lock()
        self._draws: Counter[int] = Counter()

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the verdict on the last turn. Never raises ``CoachError``."""
        turn = history[-1]
        identity = "\0".join((turn.task_id, str(turn.index), turn.agent, turn.action))
        key = int.from_bytes(hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        with self._lock:
            draw = self._draws[key]
            self._draws[key] += 1
        score = float(np.random.default_rng((self._seed, key, draw)).uniform(0.0, 10.0))
        return Verdict(score, "drawn at random", source="random")

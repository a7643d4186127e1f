"""How much memory environments take that are played at once.

``python -m benchmarks.envs.memory NAME COUNT…`` makes environments in a process of its own, and prints the
memory that the process holds before the first one and with each COUNT of them."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.envs.subjects import PROGRAM, NoSandbox, episode, ours
from sandbox.guest.memory import held


@dataclass(frozen=True)
class Memory:
    """Memory of ``count`` environments of one kind, each before the last action of its episode."""

    name: str
    count: int
    each_kb: float
    """All memory that was added, libraries and tasks too, for each environment."""
    further_kb: float
    """What each environment added that was made since the previous count (of the first: since none)."""


def measure(name: str, counts: Sequence[int]) -> list[Memory]:
    """Returns the memory with each of ``counts`` environments, in increasing order."""
    command = [sys.executable, "-m", "benchmarks.envs.memory", name, *map(str, sorted(counts))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    empty, *used = json.loads(done.stdout)
    rows, before, already = [], empty, 0
    for count, bytes_held in zip(sorted(counts), used, strict=True):
        each, further = (bytes_held - empty) / count, (bytes_held - before) / (count - already)
        rows.append(Memory(name, count, each / 1000, further / 1000))
        before, already = bytes_held, count
    return rows


def _grow(name: str, counts: Sequence[int]) -> list[int]:
    """Returns the bytes that this process holds before the first environment, and with each of ``counts``."""
    subject = ours(name, NoSandbox())
    kept: list[object] = []
    found = [_held()]
    for count in counts:
        while len(kept) < count:
            env = subject.make()
            roles = env.scenario.roles
            actions = sum(role.max_turns if role.can_run_code else 1 for role in roles)
            played = episode(env, lambda _: PROGRAM)
            for _ in range(actions - 1):
                next(played)
            kept.append((env, played))
        found.append(_held())
    return found


def _held() -> int:
    gc.collect()
    return held(os.getpid())


if __name__ == "__main__":
    print(json.dumps(_grow(sys.argv[1], [int(count) for count in sys.argv[2:]])))

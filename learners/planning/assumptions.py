"""What a plan takes from ``conf/hardware`` and ``conf/assume``: facts about GPUs, and guesses about a run."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """One kind of GPU and its host; memory is in GiB, operations and bytes per second are peaks."""

    gpu: str
    gpus: int
    memory_gib: float
    host_gib: float
    """Host memory for each GPU that is used."""
    bfloat16: float
    float32: float
    bandwidth: float
    link: float


@dataclass
class EpisodeGuess:
    """Means of an environment's turns, in tokens."""

    prompt: int
    completion: int
    turns: float
    """Share of the allowed turns that are taken; a role takes at least one."""
    heldout: int
    """Number of tasks in an evaluation on all of them."""


@dataclass(frozen=True)
class Assume:
    """Guesses; the YAML explains each of them."""

    update_mfu: float
    prefill_mfu: float
    decode_share: float
    float32_share: float
    longest_episode: float
    longest_row: float
    sync_bytes: float
    margin: float
    process_gib: float
    context_gib: float
    engine_gib: float
    asleep_gib: float
    tool_s: float
    coach_s: float
    coach_prompt: int
    coach_completion: int
    episodes: dict[str, EpisodeGuess]

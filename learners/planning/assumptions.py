"""What a plan takes from ``conf/hardware`` and ``conf/assume``: facts about GPUs, and guesses about a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from conf.ranges import Count, Natural, NonNegative, Positive, PositiveShare, Range

GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """One kind of GPU and its host; memory is in GiB, operations and bytes per second are peaks."""

    gpu: str
    gpus: Count
    memory_gib: Positive
    host_gib: Positive
    """Host memory for each GPU that is used."""
    bfloat16: Positive
    float32: Positive
    bandwidth: Positive
    link: Positive


@dataclass
class EpisodeGuess:
    """Means of an environment's turns, in tokens."""

    prompt: Count
    completion: Count
    turns: PositiveShare
    """Share of the allowed turns that are taken; a role takes at least one."""
    heldout: Count
    """Number of tasks in an evaluation on all of them."""


@dataclass(frozen=True)
class Assume:
    """Guesses; the YAML explains each of them."""

    update_mfu: PositiveShare
    prefill_mfu: PositiveShare
    decode_share: PositiveShare
    float32_share: PositiveShare
    longest_episode: Annotated[float, Range(least=1)]
    row_deviation: NonNegative
    sync_bytes: Positive
    margin: Annotated[float, Range(least=0, below=1)]
    process_gib: NonNegative
    context_gib: NonNegative
    engine_gib: NonNegative
    asleep_gib: NonNegative
    tool_s: NonNegative
    coach_s: NonNegative
    coach_prompt: Natural
    coach_completion: Natural
    episodes: dict[str, EpisodeGuess]

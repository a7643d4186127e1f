"""Success in several tries: what a user gets who may try ``k`` times, or who needs ``k`` successes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from benchmarks.common import crossed
from benchmarks.common.estimates import Estimate
from benchmarks.evaluate.groups import Group, Measure, fair, success
from conf import ConfigError
from conf.counts import plural


def pass_at(k: int, episodes: int, successes: int) -> float:
    """Returns pass@k: the chance that at least one of ``k`` of the episodes, drawn without replacement,
    succeeds.

    Unbiased for ``k`` new episodes of the task, which the share of successes put into 1 - (1 - p)^k is not
    (M. Chen et al., arXiv 2107.03374). ``k``: at most ``episodes``.
    """
    return 1.0 - comb(episodes - successes, k) / comb(episodes, k)


def pass_all(k: int, episodes: int, successes: int) -> float:
    """Returns pass^k: the chance that all of ``k`` of the episodes, drawn without replacement, succeed.

    Unbiased for ``k`` new episodes of the task (S. Yao et al., arXiv 2406.12045). ``k``: at most
    ``episodes``.
    """
    return comb(successes, k) / comb(episodes, k)


def disagreement(episodes: int, successes: int) -> float:
    """Returns the chance that two of the episodes, drawn without replacement, end differently; unbiased for
    two new ones. A single episode tells nothing: 0."""
    if episodes < 2:
        return 0.0
    return successes * (episodes - successes) / comb(episodes, 2)


@dataclass(frozen=True)
class Tries:
    """Means over the runs and tasks of a group, with intervals of ``benchmarks.common.crossed``."""

    success: Estimate
    fair: Estimate
    at_least_one: Mapping[int, Estimate]
    """k -> pass@k."""
    all_of_them: Mapping[int, Estimate]
    """k -> pass^k."""


def tries(group: Group, ks: Sequence[int]) -> Tries:
    """Returns what ``group`` achieves in one try and in several.

    Raises:
        ConfigError: a task has fewer episodes than one of ``ks``.
    """
    for run, tasks in zip(group.runs, group.by_task, strict=True):
        fewest = min(tasks, key=lambda name: len(tasks[name]))
        if ks and max(ks) > (count := len(tasks[fewest])):
            raise ConfigError(
                f"--k {max(ks)}: {run.folder} has {plural(count, 'episode')} of task {fewest}, so k can be "
                f"{count} at most; evaluation.episodes plays more"
            )
    return Tries(
        success=crossed.share(group.cells(success)),
        fair=crossed.mean(group.cells(fair)),
        at_least_one={k: crossed.share(group.cells(_chance(pass_at, k))) for k in ks},
        all_of_them={k: crossed.share(group.cells(_chance(pass_all, k))) for k in ks},
    )


def usual_ks(groups: Sequence[Group]) -> list[int]:
    """Returns the powers of two, from 2 to the smallest number of episodes of a task in a run."""
    least = min((group.repeats for group in groups), default=0)
    return [2**power for power in range(1, least.bit_length())]


def _chance(of: Callable[[int, int, int], float], k: int) -> Measure:
    return lambda episodes: of(k, len(episodes), sum(episode.success for episode in episodes))

"""Groups of runs: several seeds of one team, or a single run, as one thing to compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.common.estimates import Array
from benchmarks.evaluate.reading import Evaluation, Played, distinct, read
from conf import ConfigError

Measure = Callable[[Sequence[Played]], float]
"""A number from the episodes of one task in one run."""


@dataclass(frozen=True)
class Group:
    """Evaluations of one team on the same tasks; each comes from another run."""

    label: str
    runs: Sequence[Evaluation]
    before: bool = False
    """Whether these are the first evaluations of runs, before training."""

    @property
    def title(self) -> str:
        """The label, and whether this is before training."""
        return f"{self.label} before" if self.before else self.label

    @property
    def titled(self) -> list[Evaluation]:
        """The runs, with what ``title`` adds in their labels."""
        return [replace(run, label=f"{run.label} before") if self.before else run for run in self.runs]

    @cached_property
    def by_task(self) -> Sequence[Mapping[str, Sequence[Played]]]:
        """For each run, task -> its episodes in the order in which they were set."""
        return [_by_task(run.episodes) for run in self.runs]

    @property
    def tasks(self) -> list[str]:
        """The tasks of every run, sorted."""
        return sorted(self.by_task[0])

    @property
    def episodes(self) -> list[Played]:
        """The episodes of all runs."""
        return [episode for run in self.runs for episode in run.episodes]

    @property
    def repeats(self) -> int:
        """The smallest number of episodes that a task has in a run."""
        return min(len(episodes) for run in self.by_task for episodes in run.values())

    def cells(self, measure: Measure, tasks: Sequence[str] | None = None) -> Array:
        """Returns ``measure`` for each run and task: shape (runs, tasks)."""
        names = self.tasks if tasks is None else tasks
        return np.array([[measure(run[name]) for name in names] for run in self.by_task], np.float64)


def make_group(label: str, runs: Sequence[Evaluation], *, before: bool = False) -> Group:
    """Returns the group of ``runs``, of which there is at least one.

    Raises:
        ConfigError: a run is given twice, or not all have the same tasks.
    """
    folders = [Path(run.folder).resolve() for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise ConfigError(f"group {label}: {run.folder} is given twice")
    group = Group(label, runs, before)
    for run, tasks in zip(runs, group.by_task, strict=True):
        if apart := sorted(tasks.keys() ^ group.by_task[0].keys()):
            raise ConfigError(
                f"group {label}: {runs[0].folder} and {run.folder} do not have the same tasks: only one has "
                f"{_listed(apart)}; evaluation.tasks=null plays all of them"
            )
    return group


def success(episodes: Sequence[Played]) -> float:
    """Returns the share of episodes that succeed."""
    return sum(episode.success for episode in episodes) / len(episodes)


def fair(episodes: Sequence[Played]) -> float:
    """Returns the mean fair score."""
    return sum(episode.fair for episode in episodes) / len(episodes)


def _by_task(episodes: Sequence[Played]) -> dict[str, list[Played]]:
    tasks = defaultdict[str, list[Played]](list)
    for episode in episodes:
        tasks[episode.task].append(episode)
    return dict(tasks)


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class Shown:
    """The evaluations to show: single ones and named groups."""

    single: Sequence[Evaluation]
    named: Mapping[str, Sequence[Evaluation]]

    def groups(self, *, before: bool = False) -> list[Group]:
        """Returns a group for each; a single evaluation is one, under its own label.

        Raises:
            ConfigError: see ``make_group``.
        """
        alone = [make_group(one.label, [one], before=before) for one in distinct(self.single)]
        return [*alone, *(make_group(name, runs, before=before) for name, runs in self.named.items())]


def _members(name: str, runs: Sequence[Evaluation]) -> list[Evaluation]:
    """Returns ``runs``, labelled by the group and their folders."""
    short = [Path(run.folder).name for run in runs]
    folders = short if len(set(short)) == len(short) else [run.folder for run in runs]
    return [replace(run, label=f"{name} {own}") for run, own in zip(runs, folders, strict=True)]


def read_shown(folders: Sequence[Path], named: Sequence[Sequence[str]], *, first: bool = False) -> Shown:
    """Reads evaluations from run folders. ``named``: for each group its name and folders; ``first``: as for
    ``reading.read``.

    Raises:
        ConfigError: a folder has no such evaluation, or a group has no folder or no name of its own.
    """
    names = [name for name, *_ in named]
    for name, *members in named:
        if (Path(name) / "config.yaml").is_file():
            raise ConfigError(
                f"the first word after --group names the group, and {name} is a run folder: "
                "write --group NAME RUN…"
            )
        if not members:
            raise ConfigError(f"--group {name} names no run folder: write --group NAME RUN…")
        if names.count(name) > 1:
            raise ConfigError(f"--group {name} is given twice: name all its runs after one --group")
    groups = {name: [read(Path(member), first=first) for member in members] for name, *members in named}
    return Shown(
        [read(folder, first=first) for folder in folders],
        {name: _members(name, runs) for name, runs in groups.items()},
    )

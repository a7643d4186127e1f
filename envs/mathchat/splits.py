"""Which problems train a team and which evaluate it: by source, by year of the contest, or by chance."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conf import ConfigError
from conf.counts import plural
from envs.mathchat.loader import Fields, Problem, distinct, load, merged, overlap, same_by
from envs.types import Split, Task

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What is asked for; ``conf/env/mathchat.yaml`` describes the settings, which have the same names."""

    tasks: list[str]
    heldout_tasks: list[str] | None
    heldout: float
    split_seed: int
    years: Mapping[str, tuple[int, int] | None]
    kinds: list[str] | None
    sample: int | None
    sample_seed: int
    drop_overlap: bool


def choose(choice: Choice, fields: Fields) -> dict[Split, list[Task]]:
    """Loads the problems and splits them. No problem is in both parts, and no id occurs twice.

    Raises:
        ConfigError: a source or a record is invalid, a problem is in both parts, or a part is empty.
    """
    train, heldout = _parts(choice, load(choice.tasks, fields), fields)
    both = overlap(train, heldout)
    if both and not choice.drop_overlap:
        problem, other = both[0]
        raise ConfigError(
            f"training and evaluation have {plural(len(both), 'problem')} in common, such as "
            f"{problem.where}, which is {other.where} by its {same_by(problem, other)}; set "
            "env.overlap=drop to train without them"
        )
    if both:
        same = {problem.where for problem, _ in both}
        train = [problem for problem in train if problem.where not in same]
        _LOG.warning(
            "training and evaluation have %s in common, not trained on", plural(len(both), "problem")
        )
        _require(train, f"every problem of {_names(choice.tasks)} is also held out")
    sources = _names([*choice.tasks, *(choice.heldout_tasks or ())])
    tasks = distinct([problem.task for problem in (*train, *heldout)], sources)
    return {"train": tasks[: len(train)], "heldout": tasks[len(train) :]}


def split(tasks: Sequence[Problem], heldout: float, seed: int) -> tuple[list[Problem], list[Problem]]:
    """Splits ``tasks`` into (train, heldout), in their order: a random share ``heldout`` of every kind is
    held out.

    A kind with at least two tasks has at least one in each part.
    """
    kinds: dict[str, list[int]] = defaultdict(list)
    for position, one in enumerate(tasks):
        kinds[one.task.kind].append(position)
    chosen: set[int] = set()
    for kind, members in kinds.items():
        count = min(max(round(heldout * len(members)), 1), len(members) - 1)
        chosen.update(random.Random(f"{seed} {kind}").sample(members, count))
    train = [one for position, one in enumerate(tasks) if position not in chosen]
    return train, [one for position, one in enumerate(tasks) if position in chosen]


def draw(problems: Sequence[Problem], count: int, seed: int) -> list[Problem]:
    """Returns ``count`` of ``problems``, in their order.

    The same draw as in MAPPA's released code: with 512 and 42, from its file of 933 AIME problems, the same
    512.

    Raises:
        ConfigError: there are fewer.
    """
    if count > len(problems):
        raise ConfigError(
            f"env.sample={count}, but it can be at most {len(problems)}, the number of problems to draw from"
        )
    drawn = np.random.RandomState(seed).choice(len(problems), size=count, replace=False)
    return [problems[position] for position in sorted(drawn.tolist())]


def _parts(choice: Choice, problems: list[Problem], fields: Fields) -> tuple[list[Problem], list[Problem]]:
    """Returns (train, heldout), each without duplicates and not empty."""
    years, name = choice.years, _names(choice.tasks)
    train = _chosen(problems, choice, "train", name)
    if choice.heldout_tasks is not None:
        others = load(choice.heldout_tasks, fields)
        heldout = _chosen(others, choice, "heldout", _names(choice.heldout_tasks))
    elif years["heldout"] is not None:
        heldout = _chosen(problems, choice, "heldout", name)
        if years["train"] is None:
            train = [problem for problem in train if not _within(problem, years["heldout"])]
            _require(
                train, f"every problem of {name} is of env.years.heldout; set env.tasks or env.years.train"
            )
    else:
        heldout = []
    if choice.sample is not None:
        train = draw(train, choice.sample, choice.sample_seed)
    train = merged(train)
    if heldout:
        return train, merged(heldout)
    train, heldout = split(train, choice.heldout, choice.split_seed)
    _require(heldout, f"{name}: a single problem of each kind cannot be split; set env.heldout_tasks")
    return train, heldout


def _chosen(problems: list[Problem], choice: Choice, part: str, name: str) -> list[Problem]:
    """Returns the problems of the years and kinds that are asked for."""
    years, kinds = choice.years[part], choice.kinds
    if years is not None:
        problems = [problem for problem in problems if _within(problem, years)]
        _require(problems, f"{name} has no problem of env.years.{part}={list(years)}")
    if kinds is None:
        return problems
    found = sorted({problem.task.kind for problem in problems})
    problems = [problem for problem in problems if problem.task.kind in kinds]
    _require(problems, f"{name} has no problem of env.kinds={kinds}; its kinds are {str(found)[1:-1]:.200}")
    return problems


def _within(problem: Problem, years: tuple[int, int]) -> bool:
    if problem.year is None:
        raise ConfigError(f"{problem.where}: has no year, which env.years needs; see env.fields.year")
    return years[0] <= problem.year <= years[1]


def _require(problems: Sequence[Any], message: str) -> None:
    if not problems:
        raise ConfigError(message)


def _names(sources: Sequence[str]) -> str:
    return ", ".join(sources)

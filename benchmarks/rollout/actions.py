"""The actions that ``benchmarks.rollout.play`` plays: recorded ones, or programs of the teaching policy."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conf
from coaches.episodes import file_of
from conf import ConfigError
from conf.text import loads
from envs.base import Scenario
from envs.types import Task
from learners.config import RunConfig
from learners.models.tiny_policy.habits import WEIGHTS, choose, script
from learners.rollout.tasks import sample_tasks
from learners.seeds import derive_seed

CLOSING = "Done."
CLOSES = 0.5
"""Probability that a role ends its part after an attempt: what lies between the teaching policy's 0.8 after a
success and 0.35 after a failure."""
CHARS_PER_TOKEN = 4.0
"""Of an action without a recorded number of tokens."""


@dataclass(frozen=True)
class Episode:
    """What is played in one episode."""

    id: str
    task: str
    seed: int
    actions: Sequence[str]
    """In the order of play, of all agents."""
    tokens: Sequence[int]
    """Of each action."""


def drawn(config: RunConfig, steps: int) -> list[list[Episode]]:
    """Returns the episodes of training steps, with programs as the untrained teaching policy writes them.

    Tasks and seeds are those of the run ``config``.

    Raises:
        ConfigError: the teaching policy has no such programs for this environment.
    """
    scenario: Scenario = conf.build("envs", config.env)
    if strange := [role.name for role in scenario.roles if role.name not in WEIGHTS]:
        raise ConfigError(
            f"there are no programs for the roles {', '.join(strange)} of env={scenario.name}: record a run "
            "and name it with --episodes runs/…, or use --sample"
        )
    return [_step(config, scenario, step) for step in range(steps)]


def _step(config: RunConfig, scenario: Scenario, step: int) -> list[Episode]:
    settings = config.rollout
    tasks = sample_tasks(
        scenario.tasks("train"), step=step, count=settings.tasks, seed=derive_seed(config.seed, "tasks")
    )
    episodes = []
    for order, task in enumerate(task for task in tasks for _ in range(settings.episodes)):
        seed = derive_seed(config.seed, "train", step, order)
        actions = _actions(scenario, task, random.Random(seed))
        tokens = [round(len(action) / CHARS_PER_TOKEN) for action in actions]
        episodes.append(Episode(f"train-{step}-{order}", task.id, seed, actions, tokens))
    return episodes


def _actions(scenario: Scenario, task: Task, rng: random.Random) -> list[str]:
    actions = []
    for role in scenario.roles:
        for attempt in range(role.max_turns):
            if attempt and rng.random() < CLOSES:
                actions.append(CLOSING)
                break
            actions.append(script(role.name, choose(role.name, task.facts, rng)))
    return actions


def recorded(path: Path, steps: int) -> list[list[Episode]]:
    """Returns the first ``steps`` training steps of a run, by its folder or its ``episodes.jsonl``.

    Raises:
        ConfigError: it cannot be read, is no such file, or has fewer steps.
    """
    found: dict[int, list[Episode]] = {}
    path = file_of(path)
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = loads(line)
            if row["phase"] == "train":
                found.setdefault(row["step"], []).append(_episode(row))
    except OSError as error:
        raise ConfigError(f"--episodes {path}: {error.strerror or error}") from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--episodes {path}: not the episodes.jsonl of a run ({error!r})") from None
    if len(found) < steps:
        raise ConfigError(
            f"--episodes {path}: it has {len(found)} training steps, fewer than --steps {steps}"
        )
    return [found[step] for step in sorted(found)[:steps]]


def _episode(row: Mapping[str, Any]) -> Episode:
    actions = [turn["action"] for turn in row["turns"]]
    tokens = [turn.get("tokens") or round(len(turn["action"]) / CHARS_PER_TOKEN) for turn in row["turns"]]
    return Episode(row["id"], row["task"], row["seed"], actions, tokens)

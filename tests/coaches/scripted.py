"""A coach whose verdicts the actions prescribe, and simulated episodes for it to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from coaches.base import BudgetError, Coach, CoachError, Verdict
from coaches.judging.learning import JudgedEpisode
from envs.types import Outcome, Role, Turn
from sandbox.base import Result

ROLES = tuple(Role(name, "", 2) for name in ("first", "second", "third"))


class Scripted:
    """The first word of an action is its score, or ``mute``; ``kinds`` adds points by kind of task."""

    @dataclass(frozen=True)
    class Config:
        kinds: dict[str, float]
        add: float
        blame: str | None
        mute: bool

    def __init__(self, config: Config) -> None:
        self.config = config

    def judge(self, history: Sequence[Turn]) -> Verdict:
        word = history[-1].action.split()[0]
        if word == "broke":
            raise BudgetError("spent")
        if self.config.mute or word == "mute":
            raise CoachError("no word") from TimeoutError()
        score = float(word) + self.config.add + self.config.kinds.get(history[-1].kind, 0.0)
        return Verdict(
            min(10.0, max(0.0, score)), f"read {word}", self.config.blame, cost=0.5, source="scripted"
        )


def node(
    *, add: float = 0.0, blame: str | None = None, mute: bool = False, **kinds: float
) -> dict[str, object]:
    """Returns a coach node of ``Scripted``."""
    return {"name": "tests.coaches.scripted", "kinds": kinds, "add": add, "blame": blame, "mute": mute}


def turn(action: str, *, role: Role = ROLES[0], index: int = 0, kind: str = "math") -> Turn:
    return Turn(
        task_id="t",
        kind=kind,
        agent=role.name,
        role=role,
        index=index,
        attempt=0,
        observation=(),
        action=action,
        code=None,
        result=None,
        files_before=(),
        files_after=(),
        checks=(),
        last=False,
    )


def episode(rng: np.random.Generator, task: int, kind: str, liking: float) -> JudgedEpisode:
    """Returns six turns of three roles; scores depend on evidence, outcome, liking and noise."""
    easy = 0.7 if kind == "regression" else 0.4  # kinds differ in success, which makes raw means misleading
    success = bool(rng.random() < easy)
    outcome = Outcome(
        success, float(rng.uniform(0.3, 1.0)) if success else 0.0, {}, "ok" if success else "no"
    )
    turns = []
    for index in range(6):
        fine = bool(rng.random() < (0.8 if success else 0.4))
        worth = 2.0 + 2.0 * fine + 2.0 * outcome.score + liking + rng.normal(0.0, 0.8)
        action = f"{min(8.4, max(0.0, worth)):.6f} {'x' * int(rng.choice([20, 200, 900]))}"
        turns.append(
            replace(
                turn(action, role=ROLES[index // 2], index=index, kind=kind),
                attempt=index % 2,
                result=Result("ok" if fine else "error", 0, "", "", False, 0.0, 0.0),
                last=index % 2 == 1,
            )
        )
    return JudgedEpisode(f"{kind}-{task}", tuple(turns), (), outcome)


def step(rng: np.random.Generator, likings: Sequence[float], episodes: int = 4) -> list[JudgedEpisode]:
    """Returns a step's episodes without verdicts; ``likings``: bonus points by task; kinds alternate."""
    return [
        episode(rng, task, ("classification", "regression")[task % 2], liking)
        for task, liking in enumerate(likings)
        for _ in range(episodes)
    ]


def judged(coach: Any, episodes: Sequence[JudgedEpisode]) -> list[JudgedEpisode]:
    """Returns the same episodes with the coach's verdicts, None where it has none."""

    def ask(history: Sequence[Turn]) -> Verdict | None:
        try:
            return cast(Coach, coach).judge(history)
        except CoachError:
            return None

    return [
        replace(one, verdicts=tuple(ask(one.turns[: place + 1]) for place in range(len(one.turns))))
        for one in episodes
    ]

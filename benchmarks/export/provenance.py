"""Where a row of exported data comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from coaches.prompting.prompt import Prompts
from envs.dsbench.loaders import licences
from envs.types import Turn
from learners.report.reading import Row, Run


@dataclass(frozen=True)
class Source:
    """What all rows of a run have in common."""

    run: Mapping[str, Any]
    coach: Mapping[str, Any]
    """The coach's settings; empty if they are not known."""

    def episode(self, row: Row, episode: RecordedEpisode) -> dict[str, Any]:
        """Returns where an episode comes from."""
        licence = row.get("licence") or _licence(episode.task_id)
        where = {"episode": episode.id, "phase": episode.phase, "step": episode.step, "seed": row.get("seed")}
        return dict(self.run) | where | {"task": episode.task_id, "kind": episode.kind, "licence": licence}

    def turn(self, row: Row, episode: RecordedEpisode, turn: Turn, verdict: Verdict | None) -> dict[str, Any]:
        """Returns where an action comes from; ``weights`` counts the updates that its agent had had."""
        raw = row["turns"][turn.index] if turn.index < len(row["turns"]) else {}
        success = None if episode.outcome is None else episode.outcome.success
        return self.episode(row, episode) | {
            "turn": turn.index,
            "agent": turn.agent,
            "weights": raw.get("weight_version"),
            "judge": None if verdict is None else verdict.source,
            "coach_sha256": self._coach(turn.role.name),
            "success": success,
        }

    def _coach(self, role: str) -> str | None:
        """Returns the hash of what made the coach judge as it did: its settings, and its prompt if it has
        one."""
        if not self.coach:
            return None
        name = self.coach.get("coach.prompt")
        return _sha256([dict(self.coach), Prompts(name).rules(role) if isinstance(name, str) else None])


def sources(run: Run) -> Source:
    """Returns what is known of a run; what a file of episodes does not tell is null."""
    config = run.config
    coach = {name: value for name, value in config.items() if name.startswith("coach.")}
    return Source(
        {
            "coachgym": version("coachgym"),
            "run": run.name,
            "environment": config.get("env.name"),
            "algorithm": config.get("algorithm.name"),
            "model": config.get("model.path") or config.get("model.name"),
            "coach": config.get("coach.name"),
        },
        coach,
    )


@cache
def _licences() -> Mapping[str, str]:
    return licences()


def _licence(task: str) -> str | None:
    return _licences().get(task)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

"""Where a row of exported data comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
    chats: Mapping[str, Mapping[str, Any]]
    """Agent -> the arguments of its chat template; "" for all other agents."""
    models: Mapping[str, str]
    """Agent -> the model that played it, where the run has recorded it."""

    def chat(self, agent: str) -> Mapping[str, Any]:
        """Returns the arguments with which the agent's chat template made the prompts that it read."""
        return self.chats.get(agent, self.chats[""])

    def episode(self, row: Row, episode: RecordedEpisode) -> dict[str, Any]:
        """Returns where an episode comes from."""
        licence = row.get("licence") or _licence(episode.task_id)
        where = {"episode": episode.id, "phase": episode.phase, "step": episode.step, "seed": row.get("seed")}
        return dict(self.run) | where | {"task": episode.task_id, "kind": episode.kind, "licence": licence}

    def turn(self, row: Row, episode: RecordedEpisode, turn: Turn, verdict: Verdict | None) -> dict[str, Any]:
        """Returns where an action comes from; ``weights`` counts the updates that its agent had had,
        ``prompt_tokens`` and ``tokens`` what it read and sampled."""
        raw = recorded(row, turn)
        success = None if episode.outcome is None else episode.outcome.success
        return self.episode(row, episode) | {
            "turn": turn.index,
            "agent": turn.agent,
            "model": self.models.get(turn.agent, self.run["model"]),
            "weights": raw.get("weight_version"),
            "prompt_tokens": raw.get("prompt_tokens"),
            "tokens": raw.get("tokens"),
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


def recorded(row: Row, turn: Turn) -> Row:
    """Returns a turn as its line has it; empty where the line has fewer turns."""
    turns: Sequence[Row] = row["turns"]
    return turns[turn.index] if turn.index < len(turns) else {}


def cut_off(row: Row, turn: Turn) -> bool:
    """Returns whether the completion ran out of tokens: whoever learned it would learn to stop there."""
    return bool(recorded(row, turn).get("finish_reason") == "length")


def template_arguments(chat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the column from which TRL's trainers take the arguments of the chat template, if there are
    any."""
    return {"chat_template_kwargs": dict(chat)} if chat else {}


def sources(run: Run) -> Source:
    """Returns what is known of a run; what a file of episodes does not tell is null."""
    config = run.config
    own = {name.split(".")[1] for name in config if name.startswith("team.") and ".model." in name}
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
        {"": _chat(config, "model"), **{agent: _chat(config, f"team.{agent}.model") for agent in own}},
        {agent: str(one["model"]) for agent, one in run.metadata.get("team", {}).items()},
    )


def _chat(config: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """Returns ``chat`` of a model's settings, which are by their dotted names."""
    start = f"{model}.chat."
    chat: dict[str, Any] = {}
    for name, value in config.items():
        if name.startswith(start):
            *groups, last = name.removeprefix(start).split(".")
            place = chat
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
    return chat


@cache
def _licences() -> Mapping[str, str]:
    return licences()


def _licence(task: str) -> str | None:
    return _licences().get(task)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

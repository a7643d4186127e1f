"""An episode as one JSON line, which coaches, reports and exports read later."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from coaches.base import Verdict
from envs.types import Turn
from learners.types import Completion, Rollout
from sandbox.base import FileInfo


def episode_row(phase: str, step: int, rollout: Rollout) -> dict[str, Any]:
    """Returns a row of ``episodes.jsonl``: turns with files, checks and verdicts, and the outcome.

    An agent's observation only grows, so each turn lists only the messages that are new to its agent, and
    ``seen`` counts those listed before. ``files_before`` is listed only where it differs from the files after
    the previous turn. ``coaches.episodes`` reads all of it back.
    """
    episode = rollout.episode
    seen: dict[str, int] = {}
    turns: list[dict[str, Any]] = []
    before: tuple[FileInfo, ...] = ()
    for turn, completion, verdict in zip(episode.turns, rollout.completions, rollout.verdicts, strict=True):
        row = _turn(turn, completion, verdict, seen.get(turn.agent, 0))
        if turn.files_before != before:
            row["files_before"] = [asdict(file) for file in turn.files_before]
        turns.append(row)
        seen[turn.agent], before = len(turn.observation), turn.files_after
    roles = {turn.agent: turn.role for turn in episode.turns}
    return {
        "phase": phase,
        "step": step,
        "id": episode.id,
        "task": episode.task_id,
        "kind": episode.kind,
        "seed": episode.seed,
        "roles": [asdict(role) for role in roles.values()],
        "facts": dict(episode.turns[0].facts),
        "turns": turns,
        "outcome": asdict(episode.outcome),
    }


def _turn(turn: Turn, completion: Completion, verdict: Verdict | None, seen: int) -> dict[str, Any]:
    row = {
        "agent": turn.agent,
        "index": turn.index,
        "attempt": turn.attempt,
        "seen": seen,
        "observation": [asdict(message) for message in turn.observation[seen:]],
        "action": turn.action,
        "code": turn.code,
        "result": None if turn.result is None else asdict(turn.result),
        "files": [asdict(file) for file in turn.files_after],
        "checks": [asdict(check) for check in turn.checks],
        "last": turn.last,
        "prompt_tokens": completion.prompt_tokens,
        "tokens": completion.tokens,
        "finish_reason": completion.finish_reason,
        "weight_version": completion.weight_version,
        "verdict": None if verdict is None else asdict(verdict),
    }
    return row | ({"cost": completion.bill.cost} if completion.bill else {})

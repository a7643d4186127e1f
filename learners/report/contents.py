"""What the page holds of each episode: one row of a small index, and its details in compressed blocks."""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coaches.base import Verdict
from coaches.episodes import RecordedEpisode
from coaches.evidence import checks as evidence
from conf.text import finite
from envs.actions.parsing import read_action
from envs.types import Turn
from learners.report.handoffs import Diagnosis, broken, diagnose, handoffs
from learners.report.reading import Row
from sandbox.base import FileInfo

EPISODES_PER_BLOCK = 32
"""Enough for texts that repeat to be stored once, few enough to be read within milliseconds."""


@dataclass
class Contents:
    """The episodes of one run, ready for the page."""

    index: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Column -> one value for each episode."""
    blocks: list[str] = field(default_factory=list)
    """Details of ``EPISODES_PER_BLOCK`` episodes each, packed."""


def contents(played: Iterable[tuple[Row, RecordedEpisode]]) -> Contents:
    """Returns the index and the blocks of all episodes. Details are kept compressed, block by block."""
    made, details = Contents(), list[dict[str, Any]]()
    for row, episode in played:
        diagnosis = diagnose(episode.turns, episode.outcome)
        for column, value in _summary(episode, diagnosis).items():
            made.index[column].append(value)
        details.append(_details(row, episode, diagnosis))
        if len(details) == EPISODES_PER_BLOCK:
            made.blocks.append(pack(details))
            details = []
    if details:
        made.blocks.append(pack(details))
    return made


def pack(value: Any) -> str:
    """Returns a value as JSON, compressed (gzip) and in base64. Floats that are not finite become null."""
    try:
        text = _json(value)
    except ValueError:
        text = _json(finite(json.loads(_json(value, allow_nan=True))))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


def _json(value: Any, *, allow_nan: bool = False) -> str:
    """Returns JSON in which records are objects. Raises ``ValueError`` for a float that is not finite."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_members, allow_nan=allow_nan)


def _members(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else vars(value)


def _summary(episode: RecordedEpisode, diagnosis: Diagnosis | None) -> dict[str, Any]:
    outcome, turns = episode.outcome, episode.turns
    scores = [verdict.score for verdict in episode.verdicts if verdict is not None]
    return {
        "id": episode.id,
        "task": episode.task_id,
        "kind": episode.kind,
        "phase": episode.phase,
        "step": episode.step,
        "success": None if outcome is None else outcome.success,
        "code": None if outcome is None else outcome.failure_code,
        "fair": None if outcome is None else outcome.metrics.get("fair"),
        "raw": None if outcome is None else outcome.score,
        "score": sum(scores) / len(scores) if scores else None,
        "least": min(scores, default=None),
        "turns": len(turns),
        "agents": list(dict.fromkeys(turn.agent for turn in turns)),
        "culprit": None if diagnosis is None else diagnosis.culprit.agent,
        "turn": None if diagnosis is None else diagnosis.culprit.turn,
        "artifact": "" if diagnosis is None else diagnosis.artifact,
        "reason": "" if diagnosis is None else diagnosis.culprit.reason,
        "chain": "" if diagnosis is None else diagnosis.chain,
        "broken": [[one.agent, one.artifact, one.code, one.turn] for one in broken(turns)],
        "blamed": next((v.blame for v in reversed(episode.verdicts) if v is not None and v.blame), None),
        "signals": sorted(outcome.signals) if outcome is not None else [],
        "conduct": dict(_conduct(turns)),
    }


def _conduct(turns: Sequence[Turn]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yields each agent's counts: turns, programs, those that ran, characters, and actions by form."""
    for agent in dict.fromkeys(turn.agent for turn in turns):
        own = [turn for turn in turns if turn.agent == agent]
        counts: dict[str, int] = defaultdict(int)
        counts["turns"] = len(own)
        counts["characters"] = sum(len(turn.action) for turn in own)
        for turn in own:
            counts[f"form {read_action(turn.action, runs_code=turn.role.can_run_code).form}"] += 1
            if turn.result is not None:
                counts["programs"] += 1
                counts[f"program {turn.result.status}"] += 1
        yield agent, dict(counts)


def _details(row: Row, episode: RecordedEpisode, diagnosis: Diagnosis | None) -> dict[str, Any]:
    raw = row["turns"]
    seen: dict[str, int] = {}
    turns = list[dict[str, Any]]()
    for place, (turn, verdict) in enumerate(zip(episode.turns, episode.verdicts, strict=True)):
        extra = raw[place] if place < len(raw) else {}
        turns.append(_turn(turn, verdict, seen.get(turn.agent, 0), extra))
        seen[turn.agent] = len(turn.observation)
    roles = {turn.agent: turn.role for turn in episode.turns}
    return {
        "seed": None if row.get("seed") is None else str(row["seed"]),  # JavaScript would round it
        "facts": episode.turns[0].facts,
        "roles": list(roles.values()),
        "outcome": episode.outcome,
        "culprit": None if diagnosis is None else diagnosis.culprit,
        "handoffs": handoffs(episode.turns),
        "broken": broken(episode.turns),
        "turns": turns,
    }


def _turn(turn: Turn, verdict: Verdict | None, seen: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    codes = evidence.codes(turn)
    counted = ("prompt_tokens", "tokens", "finish_reason", "weight_version", "cost")
    return {
        "agent": turn.agent,
        "attempt": turn.attempt,
        "read": turn.observation[seen:],
        "read_before": seen,
        "action": turn.action,
        "code": turn.code,
        "result": turn.result,
        "files": list(_files(turn.files_before, turn.files_after)),
        "checks": [vars(check) | {"code": codes.get(check.name, check.code)} for check in turn.checks],
        "last": turn.last,
        "verdict": verdict,
        **{name: extra[name] for name in counted if extra.get(name) is not None},
    }


def _files(before: Sequence[FileInfo], after: Sequence[FileInfo]) -> Iterator[list[Any]]:
    """Yields (path, size before, size after, hash after) of every file; None where there is none."""
    old, new = ({file.path: file for file in files} for files in (before, after))
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        same = was is not None and now is not None and was.sha256 == now.sha256
        state = "same" if same else "new" if was is None else "gone" if now is None else "changed"
        yield [path, was.size if was else None, now.size if now else None, (now or was).sha256, state]  # type: ignore[union-attr]

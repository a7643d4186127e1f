"""Episodes as JSON lines, which coaches, reports and exports read later."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from coaches.base import Verdict
from coaches.recording import repeats
from coaches.recording import times as recorded_times
from coaches.recording.fields import BadRowError
from conf.text import loads
from envs.types import Turn
from learners.errors import TrainingError
from learners.run.folder import RunFolder
from learners.types import Completion, Rollout
from sandbox.base import FileInfo


class EpisodeLog:
    """Writes ``episodes.jsonl``, and to ``shared.jsonl`` what many episodes have in common."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._path = folder.path / repeats.SHARED
        self._keys: set[str] = set()
        self._size = 0
        """Bytes of the file when ``_keys`` were those in it: a resumption truncates it."""

    def write(self, phase: str, step: int, rollout: Rollout) -> dict[str, Any]:
        """Appends one episode, and returns its row without short forms.

        What cannot be written is a ``TrainingError``.
        """
        if self._size != self._written():
            self._keys, self._size = self._known(), self._written()
        row = episode_row(phase, step, rollout)
        self._folder.append("episodes", repeats.shortened(row, self._share))
        return row

    def _share(self, kind: str, value: Any) -> str:
        """Stores a value unless it is there, and returns its key. An episode is written after its values."""
        value = loads(json.dumps(value, ensure_ascii=False))  # as it is read: its key is that of its content
        key = repeats.key_of(kind, value)
        if key not in self._keys:
            self._folder.append(self._path.stem, {"key": key, "value": value})
            self._keys.add(key)
            self._size = self._written()
        return key

    def _known(self) -> set[str]:
        try:
            return {key for key, _ in repeats.stored(self._path)} if self._written() else set()
        except BadRowError as error:
            raise TrainingError(str(error)) from None

    def _written(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0


def episode_row(phase: str, step: int, rollout: Rollout) -> dict[str, Any]:
    """Returns an episode in the form of ``coaches.episodes``: turns with files, checks and verdicts, and the
    outcome.

    An agent's observation only grows, so each turn lists only the messages that are new to its agent, and
    ``seen`` counts those listed before. ``files_before`` is listed only where it differs from the files after
    the previous turn. ``coaches.episodes`` reads all of it back. Times of play, where they are known, are the
    only values besides those of ``result`` that differ between two runs with the same seed.
    """
    episode = rollout.episode
    seen: dict[str, int] = {}
    turns: list[dict[str, Any]] = []
    before: tuple[FileInfo, ...] = ()
    for turn, completion, verdict in zip(episode.turns, rollout.completions, rollout.verdicts, strict=True):
        row = _turn(turn, completion, verdict, seen.get(turn.agent, 0))
        if turn.files_before != before:
            row["files_before"] = [_fields(file) for file in turn.files_before]
        turns.append(row)
        seen[turn.agent], before = len(turn.observation), turn.files_after
    when: dict[str, Any] = {}
    if rollout.times is not None:
        when, of_turns = recorded_times.written(rollout.times)
        turns = [row | moments for row, moments in zip(turns, of_turns, strict=True)]
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
        "outcome": _fields(episode.outcome),
    } | when


def _turn(turn: Turn, completion: Completion, verdict: Verdict | None, seen: int) -> dict[str, Any]:
    row = {
        "agent": turn.agent,
        "index": turn.index,
        "attempt": turn.attempt,
        "seen": seen,
        "observation": [_fields(message) for message in turn.observation[seen:]],
        "action": turn.action,
        "code": turn.code,
        "result": None if turn.result is None else _fields(turn.result),
        "files": [_fields(file) for file in turn.files_after],
        "checks": [_fields(check) for check in turn.checks],
        "last": turn.last,
        "prompt_tokens": completion.prompt_tokens,
        "tokens": completion.tokens,
        "finish_reason": completion.finish_reason,
        "weight_version": completion.weight_version,
        "verdict": None if verdict is None else asdict(verdict),
    }
    return row | ({"cost": completion.bill.cost} if completion.bill else {})


def _fields(record: Any) -> dict[str, Any]:
    """Returns what ``asdict`` does for a record without records in it, several times faster."""
    return dict(vars(record))

"""Reads recorded episodes from JSON Lines: our own ``episodes.jsonl``, or what any other system writes.

One line per episode. All keys, and which of them are required:

    {"id": "e7",                        name of the episode; default: its line number
     "task": "sum-3", "kind": "math",   default: the id, and ""
     "turns": [                         in order, at least one
       {"agent": "solver",              required
        "action": "Add 1 and 2.",       required: what the agent wrote
        "observation": "…",             what it read: text, or [{"role": "user", "content": "…"}, …]
        "seen": 0,                      how many of its messages the agent's turn before has listed
        "code": "print(1 + 2)",         its program; default: the python blocks of the action
        "result": {"status": "ok", "stdout": "3\\n", "stderr": ""},
                                        status: ok, error, timeout, killed or output_limit
        "files": [{"path": "a.csv", "size": 9, "sha256": "…"}],     all files after the turn
        "files_before": […],            all files before it; default: those after the turn before
        "checks": [{"name": "a.csv", "code": "ok", "detail": ""}],  of the artifacts after the turn
        "last": false,                  it ended the agent's part; default: another agent follows
        "verdict": {"score": 7.5, "rationale": "…", "blame": null}}],
     "roles": [{"name": "solver", "instructions": "…", "max_turns": 1, "can_run_code": false,
                "requires": [{"name": "a.csv", "kind": "csv"}], "produces": []}],
                                        default: derived from the turns; required if there are checks
     "facts": {},                       public facts about the task
     "outcome": {"success": true, "score": 1.0, "failure_code": "ok", "metrics": {}},
     "phase": "train", "step": 3}       where in a run it was played

Other keys are ignored. Every error message is one line that names the file, the line and the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from coaches.base import CoachError, Verdict
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from envs.parsing import extract_program
from envs.types import Message, Outcome, Role, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo, Result, Status

Row = Mapping[str, Any]
Record = TypeVar("Record")


@dataclass(frozen=True)
class RecordedEpisode:
    """One parsed line."""

    id: str
    task_id: str
    kind: str
    turns: tuple[Turn, ...]
    verdicts: tuple[Verdict | None, ...]
    outcome: Outcome | None
    """None: the line does not have one."""
    phase: str
    step: int

    def judged(self) -> JudgedEpisode | None:
        """Returns the episode in the form that coaches learn from; None without an outcome."""
        if self.outcome is None:
            return None
        return JudgedEpisode(self.task_id, self.turns, self.verdicts, self.outcome)


class _BadRowError(Exception):
    """Says what is wrong, and with which key."""


def read(
    path: Path, *, roles: Sequence[Role] | None = None
) -> Iterator[tuple[dict[str, Any], RecordedEpisode]]:
    """Yields every line of ``path``, as JSON and as an episode.

    ``roles``: used for lines that have no roles.

    Raises:
        ConfigError: the file cannot be read, or a line is invalid.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _line(path, number, line, roles)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None


def episode(row: Row, *, number: int = 1, roles: Sequence[Role] | None = None) -> RecordedEpisode:
    """Returns one line's JSON as an episode. Raises ``ValueError``, which names the key, if it is invalid."""
    try:
        return _episode(row, number, roles)
    except _BadRowError as error:
        raise ValueError(str(error)) from None


def _line(
    path: Path, number: int, line: str, roles: Sequence[Role] | None
) -> tuple[dict[str, Any], RecordedEpisode]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise _BadRowError("it is not a JSON object")
        return row, _episode(row, number, roles)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}, line {number}: not valid JSON: {error}") from None
    except _BadRowError as error:
        raise ConfigError(f"{path}, line {number}: {error}") from None


def _episode(row: Row, number: int, roles: Sequence[Role] | None) -> RecordedEpisode:
    name = _get(row, "id", str, str(number))
    turns = _get(row, "turns", list)
    if not turns:
        raise _BadRowError("turns is empty")
    for place, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise _BadRowError(f"turns[{place}] is not an object")
    known = {role.name: role for role in _roles(row, turns, roles)}
    task, kind = _get(row, "task", str, name), _get(row, "kind", str, "")
    made: list[Turn] = []
    for place in range(len(turns)):
        try:
            made.append(_turn(row, turns, place, made, known, task, kind))
        except _BadRowError as error:
            raise _BadRowError(f"turns[{place}]: {error}") from None
    return RecordedEpisode(
        id=name,
        task_id=task,
        kind=kind,
        turns=tuple(made),
        verdicts=tuple(_verdict(turn.get("verdict"), place) for place, turn in enumerate(turns)),
        outcome=_outcome(row),
        phase=_get(row, "phase", str, "train"),
        step=_get(row, "step", int, 0),
    )


def _roles(row: Row, turns: Sequence[Row], given: Sequence[Role] | None) -> list[Role]:
    if "roles" in row:
        return [_role(role, place) for place, role in enumerate(_get(row, "roles", list))]
    if given is not None:
        return list(given)
    if any(turn.get("checks") for turn in turns):
        raise _BadRowError("there are checks, which need roles: add roles, or set env=<name>")
    names = [_get(turn, "agent", str) for turn in turns]
    coders = {turn["agent"] for turn in turns if turn.get("result") is not None}
    return [Role(name, "", names.count(name), name in coders) for name in dict.fromkeys(names)]


def _role(row: Any, place: int) -> Role:
    where = f"roles[{place}]"
    if not isinstance(row, dict):
        raise _BadRowError(f"{where} is not an object")
    try:
        return Role(
            _get(row, "name", str),
            _get(row, "instructions", str, ""),
            _get(row, "max_turns", int, 1),
            _get(row, "can_run_code", bool, True),
            tuple(_record(ArtifactSpec, spec) for spec in _get(row, "requires", list, [])),
            tuple(_record(ArtifactSpec, spec) for spec in _get(row, "produces", list, [])),
        )
    except _BadRowError as error:
        raise _BadRowError(f"{where}: {error}") from None


def _turn(
    row: Row,
    turns: Sequence[Row],
    place: int,
    made: Sequence[Turn],
    roles: Mapping[str, Role],
    task: str,
    kind: str,
) -> Turn:
    raw = turns[place]
    agent, action = _get(raw, "agent", str), _get(raw, "action", str)
    if agent not in roles:
        raise _BadRowError(f"agent {agent!r} has no role; the roles are {', '.join(roles)}")
    own = [turn for turn in made if turn.agent == agent]
    result = _result(raw)
    default = extract_program(action) if roles[agent].can_run_code else None
    following = turns[place + 1].get("agent") if place + 1 < len(turns) else None
    before = made[-1].files_after if made else ()
    return Turn(
        task_id=task,
        kind=kind,
        agent=agent,
        role=roles[agent],
        index=place,
        attempt=len(own),
        observation=_observation(raw, own),
        action=action,
        code=_get(raw, "code", (str, type(None)), default),
        result=result,
        files_before=_records(FileInfo, raw, "files_before", before),
        files_after=_records(FileInfo, raw, "files", before),
        checks=_records(ArtifactCheck, raw, "checks", ()),
        last=_get(raw, "last", bool, following != agent),
        facts=_get(row, "facts", dict, {}),
    )


def _observation(raw: Row, own: Sequence[Turn]) -> tuple[Message, ...]:
    observation = _get(raw, "observation", (str, list), [])
    if isinstance(observation, str):
        return (Message("user", observation),)
    seen = _get(raw, "seen", int, 0)
    earlier = own[-1].observation if own else ()
    if seen > len(earlier):
        raise _BadRowError(f"seen is {seen}, but the agent's turn before has {len(earlier)} messages")
    messages = tuple(_record(Message, message) for message in observation)
    if wrong := [message.role for message in messages if message.role not in ("system", "user", "assistant")]:
        raise _BadRowError(f"observation: {wrong[0]!r} is not a message role")
    return (*earlier[:seen], *messages)


def _result(raw: Row) -> Result | None:
    row = _get(raw, "result", (dict, type(None)), None)
    if row is None:
        return None
    if row.get("status") not in get_args(Status):
        raise _BadRowError(
            f"result: status must be one of {', '.join(get_args(Status))}, not {row.get('status')!r}"
        )
    blank = {"exit_code": None, "stdout": "", "stderr": "", "truncated": False, "wall_s": 0.0, "cpu_s": 0.0}
    return _record(Result, blank | row)


def _outcome(row: Row) -> Outcome | None:
    outcome = _get(row, "outcome", (dict, type(None)), None)
    if outcome is None:
        return None
    try:
        success = _get(outcome, "success", bool)
        score = float(_get(outcome, "score", (int, float), float(success)))
        code = _get(outcome, "failure_code", str, "ok" if success else "failed")
        metrics = _get(outcome, "metrics", dict, {})
    except _BadRowError as error:
        raise _BadRowError(f"outcome: {error}") from None
    if not 0.0 <= score <= 1.0:
        raise _BadRowError(f"outcome: score must be in [0, 1], not {score}")
    return Outcome(success, score, {"fair": score} | metrics, code)


def _verdict(row: Any, place: int) -> Verdict | None:
    """Returns the verdict on a turn, with its ``parts`` but without its usage."""
    if row is None:
        return None
    try:
        if not isinstance(row, dict):
            raise _BadRowError("it is not an object")
        return Verdict(
            float(_get(row, "score", (int, float))),
            _get(row, "rationale", str, ""),
            _get(row, "blame", (str, type(None)), None),
            float(_get(row, "cost", (int, float), 0.0)),
            _get(row, "source", str, ""),
            parts=tuple(_verdict(part, place) for part in _get(row, "parts", list, [])),
        )
    except (_BadRowError, CoachError) as error:
        raise _BadRowError(f"turns[{place}]: verdict: {error}") from None


def _records(cls: type[Record], raw: Row, key: str, default: tuple[Record, ...]) -> tuple[Record, ...]:
    if key not in raw:
        return default
    try:
        return tuple(_record(cls, item) for item in _get(raw, key, list))
    except _BadRowError as error:
        raise _BadRowError(f"{key}: {error}") from None


def _record(cls: type[Record], row: Any) -> Record:
    """Returns a record of ``row``, with tuples for lists; unknown keys are ignored."""
    if not isinstance(row, dict):
        raise _BadRowError(f"{row!r:.60} is not an object")
    names = {item.name for item in fields(cls)}  # type: ignore[arg-type]
    try:
        known = {key: value for key, value in row.items() if key in names}
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in known.items()})
    except TypeError as error:
        raise _BadRowError(str(error).replace(f"{cls.__name__}.__init__() ", "")) from None


_REQUIRED: Any = object()


def _get(row: Row, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
    """Returns ``row[key]`` after checking its type. A bool is not a number."""
    if key not in row:
        if default is _REQUIRED:
            raise _BadRowError(f"{key} is missing")
        return default
    value = row[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("null" if one is type(None) else one.__name__ for one in kinds)
        raise _BadRowError(f"{key} must be {wanted}, not {type(value).__name__}")
    return value

"""Reads recorded episodes from JSON Lines: our own ``episodes.jsonl``, or what any other system writes.

One line per episode. All keys, and which of them are required:

    {"id": "e7",                        name of the episode, text or integer; default: its line number
     "task": "sum-3", "kind": "math",   default: the id, and ""
     "turns": [                         in order, at least one
       {"agent": "solver",              required: text or integer
        "action": "Add 1 and 2.",       required: what the agent wrote, as text or as a message (see below)
        "observation": "…",             what it read: text, or [{"role": "user", "content": "…"}, …]
        "seen": 0,                      how many of its messages the agent's turn before has listed
        "code": "print(1 + 2)",         its program; default: the python blocks of the action, or all of the
                                        action if it has a result and no block
        "result": {"status": "ok", "stdout": "3\\n", "stderr": ""},
                                        status: ok, error, timeout, killed or output_limit; default: by
                                        exit_code, and never ok if that is not 0. Default of the result: what
                                        tools answer to the turn's calls in an observation after it
        "files": [{"path": "a.csv", "size": 9, "sha256": "…"}],     all files after the turn
        "files_before": […],            all files before it; default: those after the turn before
        "checks": [{"name": "a.csv", "code": "ok", "detail": ""}],  of the artifacts after the turn
        "times": {"began": 0.02, "acted": 1.31, "ended": 2.04},     seconds since the episode's start at which
                                        the agent was asked, had acted, and the turn was over
        "last": false,                  it ended the agent's part; default: another agent follows
        "verdict": {"score": 7.5, "rationale": "…", "blame": null}}],
     "roles": [{"name": "solver", "instructions": "…", "max_turns": 1, "can_run_code": false,
                "requires": [{"name": "a.csv", "kind": "csv"}], "produces": []}],
                                        default: derived from the turns; required if there are checks
     "facts": {},                       public facts about the task
     "outcome": {"success": true, "score": 1.0, "failure_code": "ok", "metrics": {}},
     "phase": "train", "step": 3,       where in a run it was played
     "started": 1796000000.0}           when, in seconds since 1970

A run writes once what repeats: ``coaches.recording.repeats`` says how, and ``read`` puts it back.

Other keys are ignored, and so is null where a key has a default. The content of a message may be text, null,
or a list of parts, of which those with text count; calls of tools become part of its text
(``coaches.recording.messages``). Messages of tools are what the agent read from its user, and the results of
the calls that they answer (``coaches.recording.results``). A file is UTF-8,
with or without a byte order mark, or UTF-16 or UTF-32 with one; it may be compressed by gzip or xz. Every
error message is one line that names the file, the line and the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from coaches.base import CoachError, Verdict
from coaches.judging.learning import JudgedEpisode
from coaches.recording import lines, messages, repeats, results
from coaches.recording import times as recorded_times
from coaches.recording.fields import BadRowError, Record, Row, get, name, number, record
from coaches.recording.times import Times
from conf import ConfigError
from conf.counts import plural
from envs.actions.parsing import extract_program
from envs.types import Message, Outcome, Role, Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo, Result, Status

FILE = "episodes.jsonl"
"""The file of episodes in the folder of a run."""


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
    times: Times | None = None
    """None: the line does not say when its turns were played."""

    def judged(self) -> JudgedEpisode | None:
        """Returns the episode in the form that coaches learn from; None without an outcome."""
        if self.outcome is None:
            return None
        return JudgedEpisode(self.task_id, self.turns, self.verdicts, self.outcome)


def read(
    path: Path, *, roles: Sequence[Role] | None = None, skipped: list[str] | None = None
) -> Iterator[tuple[dict[str, Any], RecordedEpisode]]:
    """Yields every line of ``path``, as JSON without short forms and as an episode.

    ``path``: a file, or the folder of a run. ``roles``: used for lines that have no roles. ``skipped``: gets
    a message for every invalid line, which is then left out.

    Raises:
        ConfigError: the file cannot be read, or a line is invalid and ``skipped`` is None.
    """
    path = file_of(path)
    shared = repeats.Shared(path.with_name(repeats.SHARED))
    for place, line in lines.numbered(path):
        try:
            row = repeats.restored(lines.parsed(line), shared)
            one = _episode(row, place, roles)
        except BadRowError as error:
            complaint = f"{path}, line {place}: {error}"
            if skipped is None:
                raise ConfigError(complaint) from None
            skipped.append(complaint)
        else:
            yield row, one


def file_of(path: Path) -> Path:
    """Returns the file of episodes that ``path`` names: itself, or that of the run whose folder it is.

    Raises:
        ConfigError: it is another folder.
    """
    if not path.is_dir():
        return path
    if not (path / FILE).is_file():
        raise ConfigError(f"{path} is not the folder of a run: it has no {FILE}")
    return path / FILE


def read_all(
    paths: Sequence[Path], *, roles: Sequence[Role] | None, skip_bad: bool
) -> tuple[list[tuple[dict[str, Any], RecordedEpisode]], list[str]]:
    """Returns what ``read`` yields of several paths, and a message for every line that was left out.

    For commands with the option ``--skip-bad``.

    Raises:
        ConfigError: a file cannot be read, or a line is invalid and ``skip_bad`` is false.
    """
    bad: list[str] = []
    pairs = [pair for path in paths for pair in read(path, roles=roles, skipped=bad)]
    if bad and not skip_bad:
        raise ConfigError(f"{bad[0]} (--skip-bad leaves out such lines: {len(bad)})")
    return pairs, bad


def first_of(skipped: Sequence[str]) -> str:
    """Returns the first of some messages, to be appended to a line; "" if there are none."""
    return f"; the first: {skipped[0]}" if skipped else ""


def episode(row: Row, *, number: int = 1, roles: Sequence[Role] | None = None) -> RecordedEpisode:
    """Returns one line's JSON as an episode. Raises ``ValueError``, which names the key, if it is invalid."""
    try:
        return _episode(row, number, roles)
    except BadRowError as error:
        raise ValueError(str(error)) from None


def _episode(row: Row, line: int, roles: Sequence[Role] | None) -> RecordedEpisode:
    identity = name(row, "id", str(line))
    turns = get(row, "turns", list)
    if not turns:
        raise BadRowError("turns is empty")
    for place, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise BadRowError(f"turns[{place}] is not an object")
    turns = results.completed(turns)
    known = {role.name: role for role in _roles(row, turns, roles)}
    task, kind = name(row, "task", identity), get(row, "kind", str, "")
    derived = row.get("roles") is None and roles is None
    made: list[Turn] = []
    latest: dict[str, Turn] = {}
    for place in range(len(turns)):
        try:
            made.append(_turn(row, turns, place, made[-1:], latest, known, task, kind, derived))
            latest[made[-1].agent] = made[-1]
        except BadRowError as error:
            raise BadRowError(f"turns[{place}]: {error}") from None
    return RecordedEpisode(
        id=identity,
        task_id=task,
        kind=kind,
        turns=tuple(made),
        verdicts=tuple(_verdict(turn.get("verdict"), place) for place, turn in enumerate(turns)),
        outcome=_outcome(row),
        phase=get(row, "phase", str, "train"),
        step=get(row, "step", int, 0),
        times=recorded_times.read(row, turns),
    )


def _roles(row: Row, turns: Sequence[Row], given: Sequence[Role] | None) -> list[Role]:
    if row.get("roles") is not None:
        return [_role(role, place) for place, role in enumerate(get(row, "roles", list))]
    if given is not None:
        return list(given)
    if any(turn.get("checks") for turn in turns):
        raise BadRowError("there are checks, which need roles: add roles, or set env=<name>")
    agents = Counter(name(turn, "agent") for turn in turns)
    coders = {name(turn, "agent") for turn in turns if turn.get("result") is not None}
    return [Role(agent, "", count, agent in coders) for agent, count in agents.items()]


def _role(row: Any, place: int) -> Role:
    where = f"roles[{place}]"
    if not isinstance(row, dict):
        raise BadRowError(f"{where} is not an object")
    try:
        return Role(
            name(row, "name"),
            get(row, "instructions", str, ""),
            get(row, "max_turns", int, 1),
            get(row, "can_run_code", bool, True),
            tuple(record(ArtifactSpec, spec) for spec in get(row, "requires", list, [])),
            tuple(record(ArtifactSpec, spec) for spec in get(row, "produces", list, [])),
        )
    except BadRowError as error:
        raise BadRowError(f"{where}: {error}") from None


def _turn(
    row: Row,
    turns: Sequence[Row],
    place: int,
    previous: Sequence[Turn],
    latest: Mapping[str, Turn],
    roles: Mapping[str, Role],
    task: str,
    kind: str,
    derived: bool,
) -> Turn:
    """``previous``: the turn before, if there is one; ``latest``: the last turn of every agent so far;
    ``derived``: whether the roles are, so that they do not say who can run code."""
    raw = turns[place]
    agent, action = name(raw, "agent"), _action(raw)
    if agent not in roles:
        raise BadRowError(f"agent {agent!r} has no role; the roles are {', '.join(roles)}")
    own, result = latest.get(agent), _result(raw)
    following = name(turns[place + 1], "agent") if place + 1 < len(turns) else None
    before = previous[-1].files_after if previous else ()
    return Turn(
        task_id=task,
        kind=kind,
        agent=agent,
        role=roles[agent],
        index=place,
        attempt=0 if own is None else own.attempt + 1,
        observation=_observation(raw, agent, own),
        action=action,
        code=_code(raw, action, result, derived or roles[agent].can_run_code),
        result=result,
        files_before=_records(FileInfo, raw, "files_before", before),
        files_after=_records(FileInfo, raw, "files", before),
        checks=_records(ArtifactCheck, raw, "checks", ()),
        last=get(raw, "last", bool, following != agent),
        facts=get(row, "facts", dict, {}),
    )


def _action(raw: Row) -> str:
    if "action" not in raw:
        raise BadRowError("action is missing")
    try:
        parts = (messages.said(raw["action"]), messages.called(raw))
    except BadRowError as error:
        raise BadRowError(f"action {error}") from None
    return "\n".join(part for part in parts if part)


def _code(raw: Row, action: str, result: Result | None, runs_code: bool) -> str | None:
    """Returns what the action ran; a result without a program means that it ran as it is."""
    if "code" in raw and (raw["code"] is not None or result is None):
        return cast(str | None, get(raw, "code", (str, type(None))))
    program = extract_program(action) if runs_code else None
    return action if program is None and result is not None else program


def _observation(raw: Row, agent: str, own: Turn | None) -> tuple[Message, ...]:
    observation = get(raw, "observation", (str, list, dict), [])
    if isinstance(observation, str):
        return (Message("user", observation),)
    seen = get(raw, "seen", int, 0)
    earlier = () if own is None else own.observation
    if not 0 <= seen <= len(earlier):
        raise BadRowError(
            f"seen is {seen}, but the agent's turn before has {plural(len(earlier), 'message')}"
        )
    try:
        read = [messages.message(row, agent) for row in _listed(observation)]
    except BadRowError as error:
        raise BadRowError(f"observation: {error}") from None
    return (*earlier[:seen], *read)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _result(raw: Row) -> Result | None:
    row = get(raw, "result", (dict, type(None)), None)
    if row is None:
        return None
    given = {key: value for key, value in row.items() if value is not None}
    code = given.get("exit_code", 0)
    if type(code) is not int:
        raise BadRowError(f"result: exit_code must be an integer, not {code!r:.60}")
    if "exit_code" in given and given.get("status", "ok") == "ok":
        given["status"] = "error" if code else "ok"
    if "status" not in given:
        raise BadRowError("result: it has neither status nor exit_code")
    if given["status"] not in get_args(Status):
        raise BadRowError(
            f"result: status must be one of {', '.join(get_args(Status))}, not {given.get('status')!r}"
        )
    blank = {"exit_code": None, "stdout": "", "stderr": "", "truncated": False, "wall_s": 0.0, "cpu_s": 0.0}
    try:
        return record(Result, blank | given)
    except BadRowError as error:
        raise BadRowError(f"result: {error}") from None


def _outcome(row: Row) -> Outcome | None:
    outcome = get(row, "outcome", (dict, type(None)), None)
    if outcome is None:
        return None
    try:
        success = get(outcome, "success", bool)
        score = number(outcome, "score", float(success))
        code = get(outcome, "failure_code", str, "ok" if success else "failed")
        given = get(outcome, "metrics", dict, {})
        metrics = {key: number(given, key) for key, value in given.items() if value is not None}
        noticed = get(outcome, "signals", dict, {})
        signals = {key: get(noticed, key, str) for key in noticed}
    except BadRowError as error:
        raise BadRowError(f"outcome: {error}") from None
    if not 0.0 <= score <= 1.0:
        raise BadRowError(f"outcome: score must be in [0, 1], not {score}")
    return Outcome(success, score, {"fair": score} | metrics, code, signals)


def _verdict(row: Any, place: int) -> Verdict | None:
    """Returns the verdict on a turn, with its ``parts`` but without its usage."""
    if row is None:
        return None
    try:
        if not isinstance(row, dict):
            raise BadRowError("it is not an object")
        return Verdict(
            number(row, "score"),
            get(row, "rationale", str, ""),
            None if row.get("blame") is None else name(row, "blame"),
            number(row, "cost", 0.0),
            get(row, "source", str, ""),
            blocked=get(row, "blocked", bool, False),
            parts=tuple(_verdict(part, place) for part in get(row, "parts", list, [])),
        )
    except (BadRowError, CoachError) as error:
        raise BadRowError(f"turns[{place}]: verdict: {error}") from None


def _records(cls: type[Record], raw: Row, key: str, default: tuple[Record, ...]) -> tuple[Record, ...]:
    if raw.get(key) is None:
        return default
    try:
        return tuple(record(cls, item) for item in get(raw, key, list))
    except BadRowError as error:
        raise BadRowError(f"{key}: {error}") from None

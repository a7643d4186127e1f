"""What repeats in recorded episodes is written once: ``shortened`` leaves it out, ``restored`` puts it back.

Short forms stand where an object, a list or a text is expected, and each has one rule:

    "roles": ["solver-5f1c…"]                 values of ``shared.jsonl`` beside the file, by their keys
    "content": {"shared": "system-09ab…"}     the same, for the text of a message
    "imports": "imports-77e0…"                the same, in a check
    "content": {"joined": ["…", {"stderr": 0}, "…"]}   the text of the message, piece by piece
    {"action": 0}, {"stdout": 0}, {"stderr": 0}        pieces: what turn 0 wrote, and what its program printed
    {"read": 0}                               a piece: the last message that turn 0 lists
    "code": [10, 52]                          the program is these characters of the action, the end excluded
    "checks": ["a.csv"]                       that check is as the last one of that name in the episode
    "files": ["a.csv"]                        that file is the same as before the turn

``jq -r '.turns[] | if (.code | type) == "array" then .action[.code[0]:.code[1]] else .code end'`` prints all
programs. A line remains readable without the lines around it, but not without ``shared.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from coaches.recording.fields import BadRowError, Row
from conf import text

SHARED = "shared.jsonl"
"""The file of values that many episodes have in common: a line ``{"key": …, "value": …}`` for each."""
_WORTH_IT = 64
"""Characters from which on a text that repeats is left out."""
_PRINTED = ("stdout", "stderr")
_MOST = 1 << 27
"""Characters that the messages of one episode may be joined to: a small file could ask for any number."""


class Shared:
    """The values of one ``shared.jsonl``, read when one of them is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str) or key not in self._values:
            missing = "is not in" if self.path.is_file() else "is in a file that is missing,"
            raise BadRowError(
                f"{key!r:.60} {missing} {self.path}: keep recorded episodes beside the {SHARED} of their run"
            )
        return self._values[key]

    @cached_property
    def _values(self) -> dict[str, Any]:
        return dict(stored(self.path)) if self.path.is_file() else {}


def stored(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields key and value of every line of a ``shared.jsonl``. Raises ``BadRowError``."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):  # it is being written, or never was to the end
                return
            try:
                row = text.loads(line)
                name, value = row["key"], row["value"]
                kind = name.rpartition("-")[0]
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise BadRowError(f'{path}, line {number} is not {{"key": …, "value": …}}') from None
            if key_of(kind, value) != name:
                raise BadRowError(f"{path}, line {number}: the value of {name!r:.60} has been changed")
            yield name, value


def key_of(kind: str, value: Any) -> str:
    """Returns the key of a shared value: what it is, and 16 hexadecimal digits of its SHA-256."""
    whole = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"{kind}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def shortened(row: Row, share: Callable[[str, Any], str]) -> dict[str, Any]:
    """Returns an episode, in the form of ``coaches.episodes``, with short forms for what repeats.

    ``share``: stores a value of some kind (``"system"``) where ``Shared`` finds it, and returns its key.
    """
    turns: list[dict[str, Any]] = []
    checks: dict[str, Row] = {}
    files: Sequence[Row] = ()
    for place, turn in enumerate(row["turns"]):
        before = turn.get("files_before", files)
        short = {
            **turn,
            "observation": _short_messages(row["turns"], place, share),
            "code": _span(turn["action"], turn["code"]),
            "checks": [_short_check(check, checks, share) for check in turn["checks"]],
            "files": _short_files(turn["files"], before),
        }
        turns.append(short)
        files = turn["files"]
    return {**row, "roles": [share(role["name"], role) for role in row["roles"]], "turns": turns}


def _short_messages(turns: Sequence[Row], place: int, share: Callable[[str, Any], str]) -> list[Row]:
    return [
        {**message, "content": _short_text(message, turns, place, share)}
        for message in turns[place]["observation"]
    ]


def _short_text(message: Row, turns: Sequence[Row], place: int, share: Callable[[str, Any], str]) -> Any:
    content = message["content"]
    if len(content) < _WORTH_IT:
        return content
    if message["role"] == "system":
        return {"shared": share("system", content)}
    first, pieces, end = _since(turns, place), list[Any](), 0
    if first == 0 and (start := _continued(content, turns[:place])) is not None:
        pieces, end = [{"read": start[0]}], start[1]
    for earlier in range(first, place):
        for name, said in _said(turns[earlier]):
            found = content.find(said, end)
            if found >= 0:
                pieces += [content[end:found]] * (found > end) + [{name: earlier}]
                end = found + len(said)
    if not pieces:
        return content
    return {"joined": pieces + [content[end:]] * (end < len(content))}


def _since(turns: Sequence[Row], place: int) -> int:
    """Returns the agent's turn before, which is where its new messages go on from; 0 if it has none."""
    agent = turns[place]["agent"]
    return next((earlier for earlier in range(place - 1, -1, -1) if turns[earlier]["agent"] == agent), 0)


def _continued(content: str, turns: Sequence[Row]) -> tuple[int, int] | None:
    """Returns the latest turn of which the last listed message is how ``content`` starts, and its length."""
    for place in range(len(turns) - 1, -1, -1):
        listed = turns[place]["observation"]
        last = listed[-1]["content"] if listed else ""
        if len(last) >= _WORTH_IT and content.startswith(last):
            return place, len(last)
    return None


def _said(turn: Row) -> Iterator[tuple[str, str]]:
    """Yields the texts of a turn that later messages may repeat, in the order in which they do."""
    result = turn["result"] or {}
    for name, said in (("action", turn["action"]), *((name, result.get(name, "")) for name in _PRINTED)):
        if len(said) >= _WORTH_IT:
            yield name, said


def _span(action: str, code: str | None) -> Any:
    start = action.find(code) if code else -1
    return code if start < 0 else [start, start + len(code or "")]


def _short_check(check: Row, latest: dict[str, Row], share: Callable[[str, Any], str]) -> Any:
    known = latest.get(check["name"])
    latest[check["name"]] = check
    if known is not None and _same(known, check):
        return check["name"]
    return {**check, "imports": share("imports", check["imports"])} if check["imports"] else check


def _short_files(after: Sequence[Row], before: Sequence[Row]) -> list[Any]:
    known = {file["path"]: file for file in before}
    return [file["path"] if _same(known.get(file["path"]), file) else file for file in after]


def _same(one: Any, other: Any) -> bool:
    """Whether both are written alike: 1, 1.0 and true are equal, but are not."""
    return one is other or (one == other and repr(one) == repr(other))


def restored(row: dict[str, Any], shared: Shared) -> dict[str, Any]:
    """Returns an episode without short forms; one that has none as it is. Raises ``BadRowError``."""
    turns = row.get("turns")
    if not isinstance(turns, list):
        return row
    whole = _Turns(shared)
    for place, turn in enumerate(turns):
        try:
            whole.add(turn)
        except BadRowError as error:
            raise BadRowError(f"turns[{place}]: {error}") from None
    return {**row, "turns": whole.turns, **_whole_roles(row, shared)}


def _whole_roles(row: Row, shared: Shared) -> dict[str, Any]:
    roles = row.get("roles")
    if not isinstance(roles, list):
        return {}
    return {"roles": [shared[role] if isinstance(role, str) else role for role in roles]}


class _Turns:
    """The turns of one episode without short forms, as far as they have been added."""

    def __init__(self, shared: Shared) -> None:
        self.turns: list[Any] = []
        self._shared = shared
        self._checks: dict[str, Any] = {}
        self._files: Any = []
        self._joined = 0

    def add(self, turn: Any) -> None:
        whole = dict(turn) if isinstance(turn, dict) else turn
        if isinstance(turn, dict):
            if isinstance(read := turn.get("observation"), list):
                whole["observation"] = [self._message(message) for message in read]
            if isinstance(span := turn.get("code"), list):
                whole["code"] = _cut(turn.get("action"), span)
            if isinstance(listed := turn.get("checks"), list):
                whole["checks"] = [self._check(check) for check in listed]
            if isinstance(before := turn.get("files_before"), list):
                self._files = before
            if isinstance(listed := turn.get("files"), list):
                whole["files"] = self._files = _whole_files(listed, self._files)
        self.turns.append(whole)

    def _message(self, message: Any) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, dict) and content.keys() == {"shared"}:
            return {**message, "content": self._shared[content["shared"]]}
        if isinstance(content, dict) and content.keys() == {"joined"} and isinstance(content["joined"], list):
            pieces = [self._piece(piece) for piece in content["joined"]]
            self._joined += sum(map(len, pieces))
            if self._joined > _MOST:
                raise BadRowError(f"observation: the messages are longer than {_MOST} characters")
            return {**message, "content": "".join(pieces)}
        return message

    def _piece(self, piece: Any) -> str:
        if isinstance(piece, str):
            return piece
        try:
            [(name, place)] = piece.items()
            if type(place) is not int or place < 0:
                raise IndexError(place)
            turn = self.turns[place]
            if name == "read":
                said = turn["observation"][-1]["content"]
            else:
                said = turn["action"] if name == "action" else turn["result"][_PRINTED[_PRINTED.index(name)]]
        except (LookupError, TypeError, ValueError, AttributeError):
            said = None
        if not isinstance(said, str):
            raise BadRowError(f"observation: the piece {piece!r:.60} stands for no text of an earlier turn")
        return said

    def _check(self, check: Any) -> Any:
        if isinstance(check, str):
            if check not in self._checks:
                raise BadRowError(f"checks: {check!r:.60} is the name of no earlier check")
            return self._checks[check]
        if isinstance(check, dict):
            if isinstance(key := check.get("imports"), str):
                check = {**check, "imports": self._shared[key]}
            if isinstance(name := check.get("name"), str):
                self._checks[name] = check
        return check


def _cut(action: Any, span: list[Any]) -> str:
    if not isinstance(action, str) or [type(end) for end in span] != [int, int]:
        raise BadRowError(f"code: {span!r:.60} is not the place of a program in the action")
    if not 0 <= span[0] < span[1] <= len(action):
        raise BadRowError(f"code: {span!r:.60} is not within the action, which has {len(action)} characters")
    return action[span[0] : span[1]]


def _whole_files(listed: list[Any], before: Any) -> list[Any]:
    if not any(isinstance(file, str) for file in listed):
        return listed
    known = {file["path"]: file for file in before if isinstance(file, dict) and "path" in file}
    if lost := [file for file in listed if isinstance(file, str) and file not in known]:
        raise BadRowError(f"files: {lost[0]!r:.60} is the path of no file before the turn")
    return [known[file] if isinstance(file, str) else file for file in listed]

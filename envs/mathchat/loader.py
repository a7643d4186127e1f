"""Loads problems from JSON files: validates, removes duplicates and splits them."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from conf import ConfigError
from conf.text import loads
from envs.mathchat.answers import MAX_CHARS, accepted
from envs.mathchat.golds import unpacked
from envs.types import Task

_LOG = logging.getLogger(__name__)

Fields = Mapping[str, Sequence[str]]


def load(path: Path, fields: Fields) -> list[Task]:
    """Returns the problems of a JSON array of objects, or of JSON Lines, in order, each problem text once.

    ``fields`` lists the possible keys of ``problem``, ``answer``, ``id`` and ``kind``; the first one that a
    record has counts. A record without id gets its position as id, one without kind the kind ``math``, and
    one with the id of another a suffix.

    Raises:
        ConfigError: the file cannot be read, or a record is malformed; the message says which one and why.
    """
    tasks: dict[str, Task] = {}
    for number, (where, record) in enumerate(_records(path)):
        try:
            task = _task(record, fields, path.stem, number)
        except ValueError as error:
            raise ConfigError(f"{path}: {where}: {error}") from None
        tasks.setdefault(_key(task.prompt), task)
    return distinct(list(tasks.values()), path)


def distinct(tasks: Sequence[Task], path: Path, taken: Collection[str] = ()) -> list[Task]:
    """Returns ``tasks``, those with the id of another one, or with one in ``taken``, with a suffix; a warning
    says so. ``path``: where they come from."""
    used = {*taken, *(task.id for task in tasks)}
    seen, renamed, result = set(taken), [], []
    for task in tasks:
        if task.id in seen:
            renamed.append(task.id)
            number = next(n for n in count(2) if f"{task.id}-{n}" not in used)
            task = replace(task, id=f"{task.id}-{number}")
        used.add(task.id)
        seen.add(task.id)
        result.append(task)
    if renamed:
        name = renamed[0].partition("/")[2]
        _LOG.warning(
            "%s: %d problems have the id of another one, such as %r, and got a suffix",
            path,
            len(renamed),
            name,
        )
    return result


def without(tasks: Sequence[Task], others: Sequence[Task]) -> list[Task]:
    """Returns ``tasks`` without those whose text is in ``others``, so that no evaluation task is trained
    on."""
    texts = {_key(task.prompt) for task in others}
    return [task for task in tasks if _key(task.prompt) not in texts]


def split(tasks: Sequence[Task], heldout: float, seed: int) -> tuple[list[Task], list[Task]]:
    """Splits ``tasks`` into (train, heldout), in their order: a random share ``heldout`` of every kind is
    held out.

    A kind with at least two tasks has at least one in each part.
    """
    kinds: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        kinds[task.kind].append(task)
    chosen: set[str] = set()
    for kind, members in kinds.items():
        count = min(max(round(heldout * len(members)), 1), len(members) - 1)
        chosen.update(task.id for task in random.Random(f"{seed} {kind}").sample(members, count))
    return [t for t in tasks if t.id not in chosen], [t for t in tasks if t.id in chosen]


def _records(path: Path) -> list[tuple[str, Any]]:
    """Returns every record with its place in the file. Raises ``ConfigError``."""
    text = _text(path)
    try:
        value = loads(text)
    except (ValueError, RecursionError) as error:
        if not (records := _lines(path, text)):
            raise ConfigError(f"{path}: not valid JSON: {error}") from None
        return records
    if isinstance(value, dict) and "\n" not in text.strip():
        return [("line 1", value)]
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"{path}: must be a JSON array of problems, or one problem a line, with at least one"
        )
    return [(f"record {number}", record) for number, record in enumerate(value)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None


def _lines(path: Path, text: str) -> list[tuple[str, Any]]:
    """Returns the records of JSON Lines; none if not even the first line is one. Raises ``ConfigError``."""
    records: list[tuple[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((f"line {number}", loads(line)))
        except (ValueError, RecursionError) as error:
            if not records:
                return []
            raise ConfigError(f"{path}: line {number}: not valid JSON: {error}") from None
    return records


def _task(record: Any, fields: Fields, stem: str, number: int) -> Task:
    if not isinstance(record, dict):
        raise ValueError("is not a JSON object")
    text = _get(record, fields["problem"])
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"has no problem text under any of {', '.join(fields['problem'])}")
    answer = _get(record, fields["answer"])
    if answer is None:
        raise ValueError(f"has no answer under any of {', '.join(fields['answer'])}")
    identifier, kind = _get(record, fields["id"]), _get(record, fields["kind"])
    text = "\n".join(text.strip().splitlines())
    answers = accepted(unpacked(answer))
    if (longest := max(map(len, answers))) > MAX_CHARS:
        raise ValueError(f"an answer of {longest} characters; at most {MAX_CHARS} are compared")
    return Task(
        id=f"{stem}/{number if identifier is None else identifier}",
        prompt=f"## Problem\n\n{text}" if "\n" in text else f"## Problem: {text}",
        kind="math" if kind is None else str(kind),
        answer=answers,
        metric="accuracy",
    )


def _get(record: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _key(prompt: str) -> str:
    """Returns a key that is equal for problems that differ in spaces, case and dollar signs only."""
    text = "".join(prompt.casefold().replace("$", "").split())
    return text.removeprefix("##problem").removeprefix(":")

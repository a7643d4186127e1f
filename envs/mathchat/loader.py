"""Loads problems from JSON files: validates, removes duplicates and splits them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conf import ConfigError
from conf.text import loads
from envs.mathchat.answers import accepted
from envs.types import Task

Fields = Mapping[str, Sequence[str]]


def load(path: Path, fields: Fields) -> list[Task]:
    """Returns the problems of a JSON array of objects, in its order, each problem text once.

    ``fields`` lists the possible keys of ``problem``, ``answer``, ``id`` and ``kind``; the first one that a
    record has counts. A record without id gets its position as id, and one without kind the kind ``math``.

    Raises:
        ConfigError: the file cannot be read, or a record is malformed; the message says which one and why.
    """
    try:
        records = loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(records, list) or not records:
        raise ConfigError(f"{path}: must be a JSON array of problems, with at least one")
    tasks: dict[str, Task] = {}
    for number, record in enumerate(records):
        try:
            task = _task(record, fields, path.stem, number)
        except ValueError as error:
            raise ConfigError(f"{path}: record {number}: {error}") from None
        tasks.setdefault(_key(task.prompt), task)
    return _distinct(path, list(tasks.values()))


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
    return Task(
        id=f"{stem}/{number if identifier is None else identifier}",
        prompt=f"## Problem\n\n{text}" if "\n" in text else f"## Problem: {text}",
        kind="math" if kind is None else str(kind),
        answer=accepted(answer),
        metric="accuracy",
    )


def _get(record: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _key(prompt: str) -> str:
    """Returns a key that is equal for problems that differ in spaces, case and dollar signs only."""
    text = "".join(prompt.casefold().replace("$", "").split())
    return text.removeprefix("##problem").removeprefix(":")


def _distinct(path: Path, tasks: list[Task]) -> list[Task]:
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise ConfigError(f"{path}: two problems have the same id {task.id.split('/', 1)[1]!r}")
        seen.add(task.id)
    return tasks

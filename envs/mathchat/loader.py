"""Problems from the records of a source: fields, answers, ids, and records that are the same problem."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any

from conf import ConfigError
from envs.mathchat.answers import MAX_CHARS, accepted
from envs.mathchat.golds import unpacked
from envs.mathchat.identity import Contest, contest, contest_year, fingerprint
from envs.mathchat.sources import BUNDLED, Source, read
from envs.types import Task

_LOG = logging.getLogger(__name__)

Fields = Mapping[str, Sequence[str]]
Keys = tuple[tuple[str, tuple[str, ...]], ...]
"""``Fields`` that can be hashed."""


@dataclass(frozen=True)
class Problem:
    """A task with what tells it from other problems."""

    task: Task
    where: str
    """Its source and its place there, for messages."""
    text: str
    """Equal for texts that are the same (``identity.fingerprint``)."""
    contest: Contest | None
    year: int | None

    @property
    def keys(self) -> tuple[str | Contest, ...]:
        """Two problems with a common key are the same."""
        return (self.text,) if self.contest is None else (self.text, self.contest)


def load(names: Sequence[str], fields: Fields) -> list[Problem]:
    """Returns the problems of all sources (``sources.read``) in order, equal ones included.

    ``fields`` lists the possible keys of each field; the first one that a record has counts. ``a.b`` is key
    ``b`` of the object or list under ``a``. Case counts only if two keys differ in nothing else, and
    ``Problem Number`` is ``problem_number``. A record without id gets its position as id. One without kind
    gets the kind ``math``, or, where there are several sources, the name of its own.

    Raises:
        ConfigError: a source cannot be read, or a record is malformed; the message says which one and why.
    """
    keys = tuple((field, tuple(names)) for field, names in fields.items())
    several = len(names) > 1
    problems: list[Problem] = []
    for name in names:
        problems += (_bundled if name.startswith(BUNDLED) else _problems)(name, keys, several)
    return problems


def _problems(name: str, fields: Keys, several: bool) -> list[Problem]:
    source, problems = read(name), []
    kind = source.stem if several else "math"
    for number, (where, record) in enumerate(source.records):
        try:
            problems.append(_problem(record, dict(fields), source, where, kind, number))
        except ValueError as error:
            raise ConfigError(f"{source.name}: {where}: {error}") from None
    return problems


_bundled = lru_cache(maxsize=16)(_problems)
"""The bundled problems do not change: they are read once, however many environments there are."""


def merged(problems: Sequence[Problem]) -> list[Problem]:
    """Returns ``problems``, each one once: the first of those that are the same.

    Raises:
        ConfigError: two that are the same have no answer in common.
    """
    seen: dict[str | Contest, Problem] = {}
    kept = []
    for problem in problems:
        first = next((seen[key] for key in problem.keys if key in seen), None)
        if first is None:
            kept.append(problem)
        elif not set(first.task.answer) & set(problem.task.answer):
            raise ConfigError(
                f"{problem.where}: has the answer {_shown(problem)}, and {first.where}, which is the same "
                f"problem by its {_common(problem, first)}, has {_shown(first)}; remove one of them"
            )
        for key in problem.keys:
            seen.setdefault(key, first or problem)
    return kept


def overlap(problems: Sequence[Problem], others: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """Returns each of ``problems`` that is also in ``others``, with what it is there."""
    known = {key: other for other in others for key in other.keys}
    pairs = (
        (problem, next((known[key] for key in problem.keys if key in known), None)) for problem in problems
    )
    return [(problem, other) for problem, other in pairs if other is not None]


def same_by(one: Problem, other: Problem) -> str:
    """Returns by what two problems are the same, for a message."""
    return f"text and {one.contest}" if one.keys == other.keys and one.contest else _common(one, other)


def distinct(tasks: Sequence[Task], source: str) -> list[Task]:
    """Returns ``tasks``, those with the id of another one with a suffix; a warning says so. ``source``: where
    they come from."""
    used = {task.id for task in tasks}
    seen: set[str] = set()
    renamed, result = [], []
    for task in tasks:
        if task.id in seen:
            renamed.append(task.id)
            number = next(n for n in count(2) if f"{task.id}-{n}" not in used)
            task = replace(task, id=f"{task.id}-{number}")
        used.add(task.id)
        seen.add(task.id)
        result.append(task)
    if renamed:
        _LOG.warning(
            "%s: %d problems have the id of another one, such as %r, and got a suffix",
            source,
            len(renamed),
            renamed[0].partition("/")[2],
        )
    return result


def _problem(record: Any, fields: Fields, source: Source, where: str, kind: str, number: int) -> Problem:
    if not isinstance(record, dict):
        raise ValueError("is not a JSON object")
    values = {field: _get(record, keys) for field, keys in fields.items()}
    text, answer, identifier = values["problem"], values["answer"], values["id"]
    if not isinstance(text, str) or not text.strip():
        within = "; a.b is key b within a" if isinstance(text, list | dict) else ""
        raise ValueError(
            f"has no problem text under any of {', '.join(fields['problem'])} (env.fields.problem{within})"
        )
    if answer is None:
        raise ValueError(f"has no answer under any of {', '.join(fields['answer'])} (env.fields.answer)")
    text = "\n".join(text.strip().splitlines())
    answers = accepted(unpacked(answer))
    if (longest := max(map(len, answers))) > MAX_CHARS:
        raise ValueError(f"an answer of {longest} characters; at most {MAX_CHARS} are compared")
    task = Task(
        id=f"{source.stem}/{number if identifier is None else identifier}",
        prompt=f"## Problem\n\n{text}" if "\n" in text else f"## Problem: {text}",
        kind=kind if values["kind"] is None else str(values["kind"]),
        answer=answers,
        metric="accuracy",
    )
    place = contest(values.get)
    year = contest_year(values.get, place, source.stem)
    return Problem(task, f"{source.name}: {where}", fingerprint(text), place, year)


def _get(record: dict[str, Any], keys: Sequence[str]) -> Any:
    """Returns the first value that is not null under one of ``keys``, exact matches first."""
    folded = {_folded(key): value for key, value in reversed(record.items())}
    for key in keys:
        for found in (record.get(key), folded.get(_folded(key)), _nested(record, key)):
            if found is not None:
                return found
    return None


def _nested(record: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(record, list) and key.isdecimal() and len(key) < 9 and int(key) < len(record):
            record = record[int(key)]
        elif isinstance(record, Mapping):
            record = record.get(key)
        else:
            return None
    return record


def _folded(key: str) -> str:
    return key.casefold().replace(" ", "_")


def _common(one: Problem, other: Problem) -> str:
    return f"contest, {one.contest}" if one.text != other.text else "text"


def _shown(problem: Problem) -> str:
    return " or ".join(problem.task.answer)

"""Can a scenario be played? Asked once, where scenario and environment meet, before anything is played; and
of what it returns, when it is returned.

Every mistake is one line that names the scenario's class, what is wrong and what is allowed.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, get_args

from conf import ConfigError
from envs.base import Scenario
from envs.episode.sessions import SESSIONS
from envs.styles import STYLES, style_of
from envs.types import Outcome, Role, Split, Task
from sandbox.artifacts import ArtifactCheck, ArtifactSpec, Kind
from sandbox.store import check_path

CONTEXTS = ("full", "previous")
_SPLITS: tuple[Split, ...] = ("train", "heldout")
_METHODS = ("tasks", "check", "grade")
_NAME_CHARS = 64
_valid: weakref.WeakValueDictionary[int, Scenario] = weakref.WeakValueDictionary()


def validate(scenario: Scenario) -> None:
    """Raises ``ConfigError`` if ``scenario`` cannot be played. Each object is examined once."""
    if _valid.get(id(scenario)) is scenario:
        return
    where = f"scenario {type(scenario).__module__}.{type(scenario).__qualname__}"
    _check_members(where, scenario)
    _check_roles(where, scenario.roles)
    tasks = _check_tasks(where, scenario)
    _check_files(where, scenario.roles, tasks)
    with contextlib.suppress(TypeError):  # one with __slots__ is examined each time
        _valid[id(scenario)] = scenario


def checked_outcome(scenario: Scenario, outcome: Outcome) -> Outcome:
    """Returns what ``scenario.grade`` returned; raises ``ConfigError`` if it is no valid outcome."""
    where = f"{type(scenario).__qualname__}.grade"
    _check(isinstance(outcome, Outcome), where, "must return an Outcome", outcome)
    _check(
        isinstance(outcome.success, bool), where, "must return a success of true or false", outcome.success
    )
    _check(_within(outcome.score, 0, 1), where, "must return a score in [0, 1]", outcome.score)
    _check(isinstance(outcome.metrics, Mapping), where, "must return metrics by name", outcome.metrics)
    _check("fair" in outcome.metrics, where, "must return the metric fair", dict(outcome.metrics))
    _check(
        _within(outcome.metrics["fair"], 0, 1), where, "must return a fair in [0, 1]", outcome.metrics["fair"]
    )
    for name, value in outcome.metrics.items():
        _check(isinstance(name, str) and _is_number(value), where, f"must return a number as {name}", value)
    _check(_is_text(outcome.failure_code), where, "must return a failure_code", outcome.failure_code)
    _check(isinstance(outcome.signals, Mapping), where, "must return signals by name", outcome.signals)
    for name, evidence in outcome.signals.items():
        _check(_is_name(name) and isinstance(evidence, str), where, "must return texts as signals", name)
    return outcome


def checked_states(
    scenario: Scenario, role: Role, states: Iterable[ArtifactCheck]
) -> tuple[ArtifactCheck, ...]:
    """Returns what ``scenario.check`` returned for ``role``; raises ``ConfigError`` if it is not valid."""
    where = f"{type(scenario).__qualname__}.check"
    _check(isinstance(states, tuple | list), where, "must return a tuple of ArtifactChecks", states)
    names = {spec.name for spec in (*role.requires, *role.produces)}
    for state in (found := tuple(states)):
        _check(isinstance(state, ArtifactCheck), where, "must return ArtifactChecks", state)
        _check(
            state.name in names, where, f"must return states of {_list(names)} for {role.name}", state.name
        )
        _check(_is_text(state.code), where, f"must return a code for {state.name}", state.code)
    return found


def _check_members(where: str, scenario: Any) -> None:
    members = ("name", "roles", "context", "preload", "libraries", "timeout", *_METHODS)
    if missing := [name for name in members if not hasattr(scenario, name)]:
        raise ConfigError(f"{where}: lacks {', '.join(missing)}; a scenario has {', '.join(members)}")
    for name in _METHODS:
        _check(callable(getattr(scenario, name)), where, f"{name} must be a method", getattr(scenario, name))
    _check(_is_name(scenario.name), where, "name must be a short text without slashes", scenario.name)
    _check(scenario.context in CONTEXTS, where, f"context must be {' or '.join(CONTEXTS)}", scenario.context)
    _check(style_of(scenario) in STYLES, where, f"style must be {' or '.join(STYLES)}", style_of(scenario))
    session = getattr(scenario, "session", "fresh")
    _check(session in SESSIONS, where, f"session must be {' or '.join(SESSIONS)}", session)
    for name in ("preload", "libraries"):
        given = getattr(scenario, name)
        texts = isinstance(given, tuple | list) and all(map(_is_text, given))
        _check(texts, where, f"{name} must be a tuple of texts", given)
    seconds = _is_number(scenario.timeout) and scenario.timeout > 0
    _check(seconds, where, "timeout must be a number of seconds above 0", scenario.timeout)


def _check_roles(where: str, roles: Any) -> None:
    several = isinstance(roles, tuple | list) and len(roles) > 0
    _check(several, where, "roles must be a tuple of at least one Role", roles)
    for role in roles:
        _check(isinstance(role, Role), where, "roles must be Roles", role)
        _check(_is_name(role.name), where, "a role's name must be a short text without slashes", role.name)
        here = f"{where}: role {role.name}"
        _check(isinstance(role.instructions, str), here, "instructions must be a text", role.instructions)
        turns = (
            isinstance(role.max_turns, int) and not isinstance(role.max_turns, bool) and role.max_turns >= 1
        )
        _check(turns, here, "max_turns must be at least 1", role.max_turns)
        for duty in ("requires", "produces"):
            _check_specs(here, duty, getattr(role, duty))
    if twice := _repeated(role.name for role in roles):
        raise ConfigError(f"{where}: two roles are called {twice}; every role needs a name of its own")


def _check_specs(where: str, duty: str, specs: Any) -> None:
    good = isinstance(specs, tuple | list) and all(isinstance(spec, ArtifactSpec) for spec in specs)
    _check(good, where, f"{duty} must be a tuple of ArtifactSpecs", specs)
    for spec in specs:
        _check_name(f"{where}: {duty}", spec.name)
        _check(
            spec.kind in get_args(Kind),
            f"{where}: {spec.name}",
            f"kind must be {_list(get_args(Kind))}",
            spec.kind,
        )
        counted = spec.rows is None or (type(spec.rows) is int and spec.rows >= 0)
        _check(counted, f"{where}: {spec.name}", "rows must be a number of rows, or None", spec.rows)
        if spec.rows is not None and spec.rows_of is not None:
            raise ConfigError(f"{where}: {spec.name}: has both rows and rows_of; give one of them")
        if spec.kind == "any" and (spec.rows, spec.rows_of, spec.columns_of) != (None, None, None):
            raise ConfigError(
                f"{where}: {spec.name}: nothing is known of the rows and columns of a file of kind any; "
                f"choose another kind"
            )
    if twice := _repeated(spec.name for spec in specs):
        raise ConfigError(f"{where}: {duty} names {twice} twice")


def _check_tasks(where: str, scenario: Scenario) -> list[Task]:
    tasks: list[Task] = []
    for split in _SPLITS:
        given = scenario.tasks(split)
        _check(isinstance(given, Sequence), where, f"tasks({split!r}) must return a list of Tasks", given)
        tasks += given
    _check(bool(tasks), where, "tasks must return at least one Task for train or heldout", [])
    for task in tasks:
        _check(isinstance(task, Task), where, "tasks must return Tasks", task)
        _check(_is_text(task.id), where, "a task's id must be a text", task.id)
        here = f"{where}: task {task.id}"
        _check(_is_text(task.prompt), here, "prompt must be a text", task.prompt)
        _check(_is_text(task.kind), here, "kind must be a text", task.kind)
        _check(isinstance(task.facts, Mapping), here, "facts must be a mapping", task.facts)
        _check(isinstance(task.files, Mapping), here, "files must map names to paths", task.files)
        for name, source in task.files.items():
            _check_name(f"{here}: files", name)
            _check(isinstance(source, Path | bytes), here, f"file {name} must be a Path", source)
    if twice := _repeated(task.id for task in tasks):
        raise ConfigError(f"{where}: two tasks have the id {twice}; ids are unique, across splits too")
    return tasks


def _check_files(where: str, roles: Sequence[Role], tasks: Sequence[Task]) -> None:
    """Every file that a role requires or is compared with must be a task's, or a product of some role."""
    given = set.intersection(*(set(task.files) for task in tasks))
    made: set[str] = set()
    for role in roles:
        here = f"{where}: role {role.name}"
        for spec in role.requires:
            if spec.name not in made | given:
                raise ConfigError(
                    f"{here}: requires {spec.name}, which no earlier role produces and not every task has; "
                    f"there are: {_list(made | given)}"
                )
        made |= {spec.name for spec in role.produces}
        for spec in (*role.requires, *role.produces):
            for setting in ("rows_of", "columns_of"):
                other = getattr(spec, setting)
                if other is not None and other not in made | given:
                    raise ConfigError(
                        f"{here}: {setting} of {spec.name} is {other!r}, which no role produces and not "
                        f"every task has; there are: {_list(made | given)}"
                    )


def _check_name(where: str, name: Any) -> None:
    try:
        check_path(name)
    except (TypeError, ValueError, AttributeError):
        raise ConfigError(f"{where}: {name!r:.80} must be a plain file name, like train.csv") from None


def _check(good: bool, where: str, wanted: str, got: object) -> None:
    if not good:
        raise ConfigError(f"{where}: {wanted}; got {got!r:.80}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_name(value: object) -> bool:
    """Names become names of metrics and folders."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _NAME_CHARS
        and value.isprintable()
        and value.strip() == value
        and not any(char in value for char in "/\\")
        and value not in (".", "..")
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _within(value: Any, low: float, high: float) -> bool:
    return _is_number(value) and low <= value <= high


def _repeated(names: Iterable[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), "")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""Typed fields of a row of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Row = Mapping[str, Any]
Record = TypeVar("Record")
REQUIRED: Any = object()


class BadRowError(Exception):
    """Says what is wrong, and with which key."""


def get(row: Row, key: str, kind: Any, default: Any = REQUIRED) -> Any:
    """Returns ``row[key]`` after checking its type. A bool is not a number. Null stands for ``default``.

    Raises:
        BadRowError: the value is missing and has no default, or is of another type.
    """
    if key not in row:
        if default is REQUIRED:
            raise BadRowError(f"{key} is missing")
        return default
    value = row[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if value is None and default is not REQUIRED and type(None) not in kinds:
        return default
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("null" if one is type(None) else one.__name__ for one in kinds)
        raise BadRowError(f"{key} must be {wanted}, not {type(value).__name__}")
    return value


def name(row: Row, key: str, default: Any = REQUIRED) -> str:
    """Returns a name, which other systems also write as an integer. Raises ``BadRowError``."""
    return str(get(row, key, (str, int), default))


def number(row: Row, key: str, default: Any = REQUIRED) -> float:
    """Returns a number. Raises ``BadRowError``, also for an integer that no float can hold."""
    try:
        return float(get(row, key, (int, float), default))
    except OverflowError:
        raise BadRowError(f"{key} is too large a number") from None


def record(cls: type[Record], row: Any) -> Record:
    """Returns a record of ``row``, with tuples for lists.

    Unknown keys are ignored, and so is null for a field that has a default.

    Raises:
        BadRowError: a field is missing or of another type.
    """
    if not isinstance(row, Mapping):
        raise BadRowError(f"{row!r:.60} is not an object")
    kind: Any = cls
    known: dict[str, Any] = {}
    for key, (hint, optional) in _fields(kind).items():
        value = tuple(row[key]) if isinstance(row.get(key), list) else row.get(key)
        if key not in row or (value is None and optional and not _fits(None, hint)):
            continue
        if not _fits(value, hint):
            raise BadRowError(f"{key} must be {_described(hint)}, not {type(row[key]).__name__}")
        known[key] = value
    if missing := [key for key, (_, optional) in _fields(kind).items() if not optional and key not in known]:
        raise BadRowError(f"{missing[0]} is missing")
    return cls(**known)


@cache
def _fields(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Returns field -> its type, and whether it has a default."""
    hints = get_type_hints(cls)
    return {
        item.name: (hints[item.name], item.default is not MISSING or item.default_factory is not MISSING)
        for item in fields(cls)
    }


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    kind = origin or hint
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _described(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_described, get_args(hint)))
    return "null" if hint is type(None) else str(getattr(get_origin(hint) or hint, "__name__", hint))

"""Runs inside a sandbox: what a JSON file contains. Standard library only, so that nothing takes long to
import."""

from __future__ import annotations

import io
import json
import math
from typing import Any, NoReturn

_KINDS = {dict: "object", list: "array", str: "text", bool: "boolean", type(None): "null"}


def json_facts(data: bytes) -> dict[str, Any]:
    """Returns facts of a JSON document, with the key ``names`` where it has columns.

    The rows of an array are its items. Where all of them are objects, their keys are its columns, in order of
    first appearance, and a key that an object lacks is a missing value, as is null; any other array is one
    vector. An object has columns, its keys, and no rows.

    Raises:
        ValueError: it is not JSON as RFC 8259 has it, in UTF-8; or a key occurs twice in an object.
        RecursionError: it is nested too deeply.
    """
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")  # as of a file: lines end in one way
    value = json.load(text, object_pairs_hook=_object, parse_constant=_no_constant)
    facts: dict[str, Any] = {"type": _KINDS.get(type(value), "number")}
    if isinstance(value, dict):
        return facts | _columns(list(value), [[item] for item in value.values()])
    if not isinstance(value, list):
        return facts
    if value and all(isinstance(item, dict) for item in value):
        names = list(dict.fromkeys(name for item in value for name in item))
        found = _columns(names, [[item.get(name) for item in value] for name in names])
        return facts | {"dimensions": 2, "rows": len(value)} | found
    return facts | {"dimensions": 1, "rows": len(value)} | _columns([None], [value])


def _columns(names: list[Any], columns: list[list[Any]]) -> dict[str, Any]:
    text = [name for name, column in zip(names, columns, strict=True) if not all(map(_is_numeric, column))]
    rows = zip(*columns, strict=True)
    numbers = [value for column in columns for value in column if isinstance(value, float)]
    return {
        "names": names,
        "n_columns": len(names),
        "n_text": len(text),
        "text": [str(name)[:120] for name in text[:20]],
        "missing": sum(value is None for column in columns for value in column),
        "missing_rows": sum(any(value is None for value in row) for row in rows),
        "infinite": sum(map(math.isinf, numbers)),  # 1e999 is JSON
    }


def _is_numeric(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} occurs twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON: write null where there is no number")

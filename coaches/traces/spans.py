"""Spans of OTLP JSON (``TracesData``), as OpenTelemetry's exporters and collectors write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coaches.recording.fields import BadRowError, Row, get

_FAILED = (2, "STATUS_CODE_ERROR")
_VALUES = ("stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue")


@dataclass(frozen=True)
class Event:
    """Something that happened within a span."""

    name: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """One span. Identifiers are compared, never decoded: they may be hexadecimal or base64."""

    trace: str
    id: str
    parent: str
    """"" for a root."""
    name: str
    began: int
    """Nanoseconds since 1970, as ``ended``; 0 if it is not known."""
    ended: int
    attributes: Mapping[str, Any]
    events: tuple[Event, ...]
    failed: bool
    message: str
    """Of its status; "" without one."""


def spans(data: Row) -> Iterator[Span]:
    """Yields the spans of a ``TracesData`` object. Raises ``BadRowError``, which names the place."""
    for place, row in rows(data):
        try:
            yield span(row)
        except BadRowError as error:
            raise BadRowError(f"{place}: {error}") from None


def rows(data: Row) -> Iterator[tuple[str, Row]]:
    """Yields the spans of a ``TracesData`` object as they are, with their places. Raises ``BadRowError``."""
    if _key(data, "resourceSpans") not in data:
        raise BadRowError("resourceSpans is missing: it is not OTLP JSON")
    for where, resource in _objects(data, "resourceSpans", ""):
        for within, scope in _objects(resource, "scopeSpans", where):
            yield from _objects(scope, "spans", within)


def span(row: Row) -> Span:
    """Returns one span. Raises ``BadRowError``."""
    status = _get(row, "status", dict, {})
    began, ended = (_integer(row, key) for key in ("startTimeUnixNano", "endTimeUnixNano"))
    return Span(
        trace=_get(row, "traceId", str),
        id=_get(row, "spanId", str),
        parent=_get(row, "parentSpanId", str, ""),
        name=_get(row, "name", str, ""),
        began=began,
        ended=ended,
        attributes=_attributes(row),
        events=tuple(
            Event(_get(one, "name", str, ""), _attributes(one)) for _, one in _objects(row, "events", "")
        ),
        failed=status.get("code") in _FAILED,
        message=_get(status, "message", str, ""),
    )


def _attributes(row: Row) -> dict[str, Any]:
    return _pairs(row, "attributes")


def _pairs(row: Row, key: str) -> dict[str, Any]:
    made = {}
    for _, pair in _objects(row, key, ""):
        made[_get(pair, "key", str)] = _value(_get(pair, "value", dict, {}))
    return made


def _value(row: Row) -> Any:
    """Returns the value of an attribute: text, number, bool, list, object, or None for none."""
    for kind in _VALUES:
        if (key := _key(row, kind)) in row:
            break
    else:
        return None
    value = row[key]
    if kind == "intValue":
        return _integer(row, kind)
    if kind == "arrayValue":
        return [_value(one) for _, one in _objects(get(row, key, dict), "values", key)]
    if kind == "kvlistValue":
        return _pairs(get(row, key, dict), "values")
    if kind == "doubleValue":
        try:
            return float(value)
        except (TypeError, ValueError):
            raise BadRowError(f"{key} must be a number, not {value!r:.60}") from None
    return get(row, key, bool if kind == "boolValue" else str)


def _objects(row: Row, key: str, where: str) -> Iterator[tuple[str, Row]]:
    """Yields the objects of a list, with their places; none if there is no list."""
    rows: Sequence[Any] = _get(row, key, list, [])
    for place, one in enumerate(rows):
        name = f"{where}.{key}[{place}]".lstrip(".")
        if not isinstance(one, dict):
            raise BadRowError(f"{name} is not an object")
        yield name, one


def _integer(row: Row, key: str) -> int:
    """Returns a 64-bit integer, which JSON writes as text; 0 if there is none."""
    value = row.get(_key(row, key), 0)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRowError(f"{key} must be an integer, not {value!r:.60}") from None


def _get(row: Row, key: str, *rest: Any) -> Any:
    return get(row, _key(row, key), *rest)


def _key(row: Row, key: str) -> str:
    """Returns ``key`` as the row spells it: readers of protobuf's JSON take ``trace_id`` for ``traceId``."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in key)
    return snake if key not in row and snake in row else key

"""Spans as OTLP JSON: a line of ``TracesData`` for every episode, which collectors and viewers read.

Identifiers are hexadecimal there, and not base64 as elsewhere in protobuf's JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

INSTANCE = "service.instance.id"
"""The attribute of the resource that holds the id of a run."""
_IDS = ("traceId", "spanId", "parentSpanId")


def line(spans: Sequence[ReadableSpan]) -> str:
    """Returns the spans as one line of OTLP JSON, with its line break."""
    data = json_format.MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for span in _spans(data):
        for key in _IDS:
            if key in span:
                span[key] = base64.b64decode(span[key]).hex()
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def owner(line: str) -> str | None:
    """Returns the id of the run that wrote a line of ours; None if another system did."""
    try:
        attributes = json.loads(line)["resourceSpans"][0]["resource"]["attributes"]
        return str(next(one["value"]["stringValue"] for one in attributes if one["key"] == INSTANCE))
    except (ValueError, LookupError, TypeError, StopIteration, RecursionError):
        return None


def _spans(data: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for resource in data["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]

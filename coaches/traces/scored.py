"""Writes a trace of OpenTelemetry again, with a coach's verdicts as events of the spans that are turns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coaches.base import Verdict
from coaches.recording.fields import BadRowError, Row
from coaches.traces import evaluations, files
from coaches.traces.spans import rows, span
from coaches.traces.turns import JUDGED

Judged = tuple[Mapping[str, Any], Sequence[Verdict | None]]
"""The row of an episode, as ``otlp.rows`` yields it, and a verdict for each of its turns."""


def write(path: Path, out: Path, judged: Iterable[Judged]) -> None:
    """Writes to ``out`` every document of ``path`` as a line of OTLP JSON; what is not OTLP is left out.

    A turn's earlier verdict is replaced, or removed if there is none now. All else stays as it is.
    """
    verdicts = {
        (row["trace"], turn[JUDGED]): one
        for row, given in judged
        for turn, one in zip(row["turns"], given, strict=True)
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        for source in files.of(path):
            for _, data in files.documents(source):
                try:
                    if isinstance(data, BadRowError):
                        raise data
                    for _, row in rows(data):
                        _judge(row, verdicts)
                except BadRowError:
                    continue  # it has been reported, because who scored has read it before
                file.write(json.dumps(data, ensure_ascii=False) + "\n")


def _judge(row: Row, verdicts: Mapping[tuple[str, str], Verdict | None]) -> None:
    read = span(row)
    if (read.trace, read.id) not in verdicts:
        return
    assert isinstance(row, dict)
    verdict, ours = verdicts[read.trace, read.id], "coachgym.turn" in read.attributes
    row["events"] = [
        event
        for event, told in zip(row.get("events") or [], read.events, strict=True)
        if told.name != evaluations.EVALUATION or not (ours or evaluations.PART in told.attributes)
    ]
    for given in [] if verdict is None else evaluations.attributes(verdict):
        row["events"].append(_event(given, read.ended))


def _event(attributes: Mapping[str, Any], moment: int) -> dict[str, Any]:
    """``moment``: nanoseconds since 1970."""
    return {
        "timeUnixNano": str(moment),
        "name": evaluations.EVALUATION,
        "attributes": [
            {"key": key, "value": {"doubleValue" if isinstance(value, float) else "stringValue": value}}
            for key, value in attributes.items()
            if value is not None
        ],
    }

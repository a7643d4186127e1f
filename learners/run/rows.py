"""The rows of a run that trackers show: each of ``metrics.jsonl`` has one of ``timings.jsonl`` beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLACE = ("phase", "step", "time")
"""Keys that say where and when a row belongs, and are no metrics."""


def both(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields the rows of both files of a run folder, side by side."""
    yield from zip(_rows(folder / "metrics.jsonl"), _rows(folder / "timings.jsonl"), strict=True)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)

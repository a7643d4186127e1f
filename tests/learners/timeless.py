"""Episodes without the times of play, which are all that two runs with the same seed differ in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def episodes(run: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run's ``episodes.jsonl``, in order, without times of play."""
    rows = [json.loads(line) for line in (run / "episodes.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        del row["started"]
        for turn in row["turns"]:
            del turn["times"]
    return rows

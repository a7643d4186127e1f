"""Small task folders that tests write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envs.dsbench.cells import LABELLED
from envs.dsbench.metrics import METRICS

FILES = ("train", "test", "sample_submission", "answer")


def write_table(
    folder: Path,
    *,
    metric: str = "rmse",
    task_type: str = "",
    targets: Sequence[str] = ("y",),
    rows: Sequence[str],
    sample: str = "",
    encoding: str = "utf-8",
    **spec: Any,
) -> Path:
    """Writes a task: ``rows`` are ``id,x,target,…``; the first half is for training, the second is the test.

    ``sample``: the targets of each row of the sample submission; "": a value that fits the metric. ``spec``:
    other fields of ``TableSpec``.
    """
    kind = METRICS[metric].prediction if metric in METRICS else "value"
    cells = [row.split(",", 2) for row in rows]
    half = len(cells) // 2
    labels = sorted({row[2] for row in cells}) if kind in LABELLED else []
    sample = sample or ",".join([labels[0] if labels else "0.5"] * len(targets))
    columns, test = ",".join(targets), cells[half:]
    lines = {
        "train": [f"id,x,{columns}", *(",".join(row) for row in cells[:half])],
        "test": ["id,x", *(f"{row[0]},{row[1]}" for row in test)],
        "sample_submission": [f"id,{columns}", *(f"{row[0]},{sample}" for row in test)],
        "answer": [f"id,{columns}", *(f"{row[0]},{row[2]}" for row in test)],
    }
    for name, text in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(text) + "\n", encoding=encoding)
    fields = {
        "id": "mine",
        "task_type": task_type or ({"value": "regression", "text": "text"}.get(kind, "binary")),
        "metric": metric,
        "prediction": kind,
        "id_column": "id",
        "target_columns": list(targets),
        "description": "Say what it is.",
        "labels": labels,
    }
    (folder / "task.yaml").write_text(json.dumps(fields | spec), encoding="utf-8")
    return folder

"""DSBench's official scorers and ours, on the same answers and submissions."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.dsbench import metrics
from envs.dsbench.metrics import METRICS
from envs.dsbench.registry import Entry, registry
from envs.dsbench.submission import Key, validate


def shared(name: str) -> Path:
    """A file in the folder ``shared/data`` beside the checkout, or above it."""
    paths = (folder / "shared/data" / name for folder in Path(__file__).resolve().parents[4:])
    path = next((path for path in paths if path.is_file()), None)
    return path or pytest.skip(f"{name} does not lie beside the checkout")


def graded(row: dict[str, Any], entry: Entry) -> float:
    """The score of an oracle's submission, once it has been read as a file that an agent wrote."""
    name, *targets = row["columns"]
    prediction = METRICS[entry.metric].prediction
    cells = [cell for _, *cells in row["answer"] for cell in cells]
    labels = sorted({word for cell in cells for word in cell.split()}, key=lambda one: (len(one), one))
    if prediction not in ("label", "ranking"):
        labels = []
    key = Key(name, tuple(targets), tuple(ids for ids, *_ in row["answer"]), prediction, tuple(labels))
    table = [row["columns"], *row["submission"]]
    submission = validate("\n".join(",".join(cells) for cells in table).encode(), key)
    assert submission.values is not None, submission
    numeric = prediction in ("proba", "value")
    truth = np.array([cells for _, *cells in row["answer"]], dtype=float if numeric else object)
    return metrics.evaluate(entry.metric, truth, submission.values, labels)


def departure(row: dict[str, Any]) -> float:
    """By how much our score differs from the official one, where it is meant to.

    scikit-learn's log loss of one-hot columns takes the probabilities as they are, so that the official
    scorer finds a row of ones perfect. We scale each row to sum to 1, as the competition did.
    """
    if row["task"] != "lmsys-chatbot-arena":
        return 0.0
    return float(np.mean([math.log(sum(map(float, cells))) for _, *cells in row["submission"]]))


@pytest.mark.shared
def test_all_74_tasks_are_scored_as_by_the_official_scorers() -> None:
    rows = json.loads(shared("dsbench_oracle.json").read_text(encoding="utf-8"))["rows"]
    assert {row["task"] for row in rows} == registry().keys()
    ours = {row["task"]: graded(row, registry()[row["task"]]) for row in rows}
    theirs = {row["task"]: row["official"] + departure(row) for row in rows}
    assert ours == pytest.approx(theirs, rel=0, abs=1e-6)


@pytest.mark.shared
def test_baselines_and_best_scores_are_the_official_ones() -> None:
    with shared("dsbench_tasks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 74
    for row in rows:
        entry = registry()[row["name"]]
        given = float(row["baseline_score"]), float(row["ground_truth_score"])
        assert (entry.baseline, entry.best) == given, row["name"]
        assert metrics.rpg(METRICS[entry.metric].best, *given) == pytest.approx(1.0, abs=1e-9)
        assert metrics.rpg(entry.baseline, *given) == 0.0
        assert math.isfinite(entry.baseline)

"""The tasks of DSBench's data modelling part (arXiv 2409.07703), read from the user's own copy.

``registry.csv`` holds facts on all 74: metric, kind, id and target columns, the scores of the official
baseline and of the answers themselves (which make the relative performance gap), and the split. The data
are Kaggle's and stay with the user. Metrics are those of the official scorers, where they differ from the
competitions' (``tabular-playground-series-mar-2022`` is scored by MSE). Held out are the eight tasks of
MAPPA's evaluation.

Departures from the official scorers: submissions are joined by id, not by position; probabilities must lie in
[0, 1]. Tasks whose metric neither scikit-learn nor SciPy has are refused.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from conf import ConfigError
from envs.dsbench.metrics import METRICS
from envs.dsbench.spec import Table, TableSpec, check_table, header
from envs.dsbench.submission import canonical
from envs.observations import escape_headings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One row of ``registry.csv``."""

    name: str
    task_type: str
    metric: str
    id: str
    targets: tuple[str, ...]
    """``("*",)``: all columns of the sample submission but the id."""
    baseline: float
    best: float
    split: str


@cache
def registry() -> dict[str, Entry]:
    """All 74 tasks by name."""
    with (Path(__file__).parent / "registry.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: _entry(row) for row in csv.DictReader(file)}


def _entry(row: dict[str, str]) -> Entry:
    targets = tuple(row["targets"].split("|"))
    numbers = float(row["baseline"]), float(row["best"])
    return Entry(row["name"], row["task_type"], row["metric"], row["id"], targets, *numbers, row["split"])


def official(root: Path, names: Sequence[str] | None) -> list[Table]:
    """DSBench's tasks ``names`` under ``root``; None: all that are there and can be scored.

    ``root`` is the folder that the archive was unpacked to, or one up to three levels above the folder
    ``data_resplit``; beside that, ``answers`` and ``task`` (descriptions) are looked for.

    Raises:
        ConfigError: the folders or a task's files are not there, or a task in ``names`` is unknown or has a
            metric that cannot be computed.
    """
    resplit = _find(root, "data_resplit")
    if names is not None:
        return [_table(_wanted(name), resplit) for name in names]
    there = [entry for entry in registry().values() if (resplit / entry.name).is_dir()]
    tables = [_table(entry, resplit) for entry in there if entry.metric in METRICS]
    if not tables:
        raise ConfigError(f"{resplit} holds no task of DSBench that can be scored")
    refused = [f"{entry.name} ({entry.metric})" for entry in there if entry.metric not in METRICS]
    if refused:
        _LOG.warning("left out, as there is no such metric here: %s", ", ".join(refused))
    return tables


def _wanted(name: str) -> Entry:
    if name not in registry():
        raise ConfigError(f"DSBench has no modelling task {name!r}")
    entry = registry()[name]
    if entry.metric not in METRICS:
        raise ConfigError(
            f"task {name} is scored by {entry.metric}, which neither scikit-learn nor SciPy has"
        )
    return entry


def _find(root: Path, name: str) -> Path:
    for pattern in (name, f"*/{name}", f"*/*/{name}", f"*/*/*/{name}"):
        for path in sorted(root.glob(pattern)):
            if path.is_dir():
                return path
    raise ConfigError(f"there is no folder {name} under {root}; env.root must be where DSBench's data lie")


def _table(entry: Entry, resplit: Path) -> Table:
    folder, answers = resplit / entry.name, resplit.parent / "answers" / entry.name
    others = sorted(path for path in folder.glob("*.csv") if path.name not in ("train.csv", "test.csv"))
    if len(others) != 1:
        raise ConfigError(f"task {entry.name}: {folder} must hold one sample submission, not {len(others)}")
    train, sample = folder / "train.csv", others[0]
    spec = _spec(entry, train, sample, resplit.parent / "task" / f"{entry.name}.txt")
    table = Table(spec, train, folder / "test.csv", sample, answers / "test_answer.csv")
    check_table(table)
    return table


def _spec(entry: Entry, train: Path, sample: Path, description: Path) -> TableSpec:
    columns = header(sample)
    targets = (
        [name for name in columns if name != entry.id] if entry.targets == ("*",) else list(entry.targets)
    )
    ids = [name for name in columns if name not in targets]
    if len(ids) != 1 or len(columns) != len(targets) + 1:
        raise ConfigError(
            f"task {entry.name}: {sample} must have an id and the columns {', '.join(targets[:8])}"
        )
    if not description.is_file():
        raise ConfigError(f"task {entry.name}: there is no file {description}")
    prediction = METRICS[entry.metric].prediction
    return TableSpec(
        id=entry.name,
        task_type=entry.task_type,
        metric=entry.metric,
        prediction=prediction,
        id_column=ids[0],
        target_columns=targets,
        description=escape_headings(description.read_text(encoding="utf-8", errors="replace")),
        labels=_labels(entry.name, train, targets[0]) if prediction == "label" else [],
        split=entry.split,
        origin="DSBench",
        licence="the Kaggle competition's rules",
        baseline=entry.baseline,
        best=entry.best,
    )


def _labels(name: str, train: Path, target: str) -> list[str]:
    if not train.is_file() or target not in header(train):
        raise ConfigError(f"task {name}: {train} must have the column {target}")
    values = pd.read_csv(train, usecols=[target], dtype=str, keep_default_na=False)[target]
    return sorted({canonical(value) for value in values.unique()})

"""The data modelling tasks of DSBench (arXiv 2409.07703), read from the user's own copy.

``registry.csv`` has facts about all 74 tasks: metric, kind, id and target columns, the scores of the official
baseline and of the answers (for the relative performance gap), and the split. The data belong to Kaggle and
are not distributed. Where the metrics of the official scorers and the competitions differ, the official
scorers count (``tabular-playground-series-mar-2022`` is scored by MSE). The eight tasks of MAPPA's evaluation
are held out.

Differences from the official scorers: submissions are joined by id, not by position, and probabilities must
be in [0, 1]. Tasks with a metric that neither scikit-learn nor SciPy implements are rejected.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conf import ConfigError
from envs.dsbench import csvs
from envs.dsbench.metrics import METRICS
from envs.dsbench.spec import Table, TableSpec, agent_files, check_table
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
    """``("*",)``: all columns of the sample submission except the id."""
    baseline: float
    best: float
    split: str


@cache
def registry() -> dict[str, Entry]:
    """Returns all 74 tasks by name."""
    with (Path(__file__).parent / "registry.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: _entry(row) for row in csv.DictReader(file)}


def _entry(row: dict[str, str]) -> Entry:
    targets = tuple(row["targets"].split("|"))
    numbers = float(row["baseline"]), float(row["best"])
    return Entry(row["name"], row["task_type"], row["metric"], row["id"], targets, *numbers, row["split"])


def official(root: Path, names: Sequence[str] | None, encodings: Mapping[str, str]) -> list[Table]:
    """Returns DSBench's tasks ``names`` under ``root``; None: all existing tasks that can be scored.

    ``root`` is the folder into which the archive was unpacked, or a folder up to three levels above the
    folder ``data_resplit``, which has the folders ``answers`` and ``task`` (descriptions) beside it.
    ``encodings``: task id -> encoding of its tables, where that is not UTF-8.

    Raises:
        ConfigError: a folder or a file of a task is missing, or a task in ``names`` is unknown or has a
            metric that cannot be computed.
    """
    resplit = _find(root, "data_resplit")
    if names is not None:
        return [_table(_scorable(name), resplit, encodings) for name in names]
    existing = [entry for entry in registry().values() if (resplit / entry.name).is_dir()]
    tables = [_table(entry, resplit, encodings) for entry in existing if entry.metric in METRICS]
    if not tables:
        raise ConfigError(f"{resplit} has no DSBench task that can be scored")
    skipped = [f"{entry.name} ({entry.metric})" for entry in existing if entry.metric not in METRICS]
    if skipped:
        _LOG.warning("skipped tasks with unknown metrics: %s", ", ".join(skipped))
    return tables


def _scorable(name: str) -> Entry:
    if name not in registry():
        raise ConfigError(f"DSBench has no modelling task {name!r}")
    entry = registry()[name]
    if entry.metric not in METRICS:
        raise ConfigError(
            f"task {name} is scored by {entry.metric}, which neither scikit-learn nor SciPy implements"
        )
    return entry


def _find(root: Path, name: str) -> Path:
    for pattern in (name, f"*/{name}", f"*/*/{name}", f"*/*/*/{name}"):
        for path in sorted(root.glob(pattern)):
            if path.is_dir():
                return path
    raise ConfigError(
        f"there is no folder {name} under {root}; env.root must be the folder of DSBench's data"
    )


def _table(entry: Entry, resplit: Path, encodings: Mapping[str, str]) -> Table:
    folder, answers = resplit / entry.name, resplit.parent / "answers" / entry.name
    others = sorted(path for path in folder.glob("*.csv") if path.name not in ("train.csv", "test.csv"))
    if len(others) != 1:
        raise ConfigError(f"task {entry.name}: {folder} must have one sample submission; got {len(others)}")
    encoding = encodings.get(entry.name, "utf-8")
    paths = (folder / "train.csv", folder / "test.csv", others[0])
    train, test, sample = agent_files(entry.name, paths, encoding)
    spec = _spec(entry, train, sample, resplit.parent / "task" / f"{entry.name}.txt")
    table = Table(spec, train, test, sample, answers / "test_answer.csv", encoding)
    check_table(table)
    return table


def _spec(entry: Entry, train: Path, sample: Path, description: Path) -> TableSpec:
    columns = csvs.header(sample, entry.name)
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
    if not train.is_file() or target not in csvs.header(train, name):
        raise ConfigError(f"task {name}: {train} must have the column {target}")
    values = csvs.read(train, usecols=[target], dtype=str, keep_default_na=False)[target]
    return sorted({canonical(value) for value in values.unique()})

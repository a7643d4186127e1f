"""The data modelling tasks of DSBench (arXiv 2409.07703), read from the user's own copy.

``registry.csv`` has facts about all 74 tasks: metric, kind, id and target columns, the scores of the official
baseline and of the answers (for the relative performance gap), and the split. The data belong to Kaggle and
are not distributed. Where the metrics of the official scorers and the competitions differ, the official
scorers count (``tabular-playground-series-mar-2022`` is scored by MSE). The eight tasks of MAPPA's evaluation
are held out.

Differences from the official scorers: submissions are joined by id unless ``align=by_position``;
probabilities must be in [0, 1], and those of several columns are scaled to sum to 1 for the log loss, as in
the competition (the official scorer finds a row of ones perfect); what is refused here (``submission``) and
would be read there, such as a ranking with an unknown label. ``tests/envs/dsbench/test_oracle.py`` compares
all 74.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conf import ConfigError
from envs.dsbench import csvs, pages
from envs.dsbench.cells import LABELLED, canonical
from envs.dsbench.metrics import METRICS
from envs.dsbench.spec import Candidate, Table, TableSpec, agent_files, check_table
from envs.observations import escape_headings

SORTED = ("learning-agency-lab-automated-essay-scoring-2", "liverpool-ion-switching")
"""Tasks whose official scorers sort both files by id, and so join them by id. All others go by position."""


LICENCE = "the Kaggle competition's rules"
"""Of the official tasks' data."""


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


def official(
    root: Path, names: Sequence[str] | None, encodings: Mapping[str, str], descriptions: Mapping[str, str]
) -> list[Candidate]:
    """Returns DSBench's tasks ``names`` under ``root``; None: all that have a folder there.

    ``root`` is the folder into which the archive was unpacked, or a folder up to three levels above the
    folder ``data_resplit``, which has the folders ``answers`` and ``task`` (descriptions) beside it.
    ``encodings``: task id -> encoding of its tables, where that is not UTF-8. ``descriptions``: task id ->
    description; of other tasks it is their page in ``task``, cut down (``pages.cut``).

    Raises:
        ConfigError: there is no such folder, it has no task, or a task in ``names`` is unknown.
    """
    resplit = find_data(root)
    if unknown := [name for name in names or () if name not in registry()]:
        raise ConfigError(f"DSBench has no modelling task {unknown[0]!r}")
    existing = [name for name in registry() if (resplit / name).is_dir()] if names is None else names
    if not existing:
        raise ConfigError(f"{resplit} has none of DSBench's modelling tasks")

    def candidate(name: str) -> Candidate:
        return Candidate(name, lambda: _table(registry()[name], resplit, encodings, descriptions.get(name)))

    return [candidate(name) for name in existing]


def find_data(root: Path, name: str = "data_resplit") -> Path:
    """Returns the folder ``name`` in ``root`` or up to three levels below. Raises ``ConfigError``."""
    if not root.is_dir():
        raise ConfigError(f"there is no folder {root}; env.root must be the folder of DSBench's data")
    for pattern in (name, f"*/{name}", f"*/*/{name}", f"*/*/*/{name}"):
        for path in sorted(root.glob(pattern)):
            if path.is_dir():
                return path
    raise ConfigError(
        f"there is no folder {name} under {root}; env.root must be the folder of DSBench's data"
    )


def _table(entry: Entry, resplit: Path, encodings: Mapping[str, str], description: str | None) -> Table:
    folder, answers = resplit / entry.name, resplit.parent / "answers" / entry.name
    others = sorted(path for path in folder.glob("*.csv") if path.name not in ("train.csv", "test.csv"))
    if len(others) != 1:
        raise ConfigError(f"task {entry.name}: {folder} must have one sample submission; got {len(others)}")
    encoding = encodings.get(entry.name, "utf-8")
    paths = (folder / "train.csv", folder / "test.csv", others[0])
    train, test, sample = agent_files(entry.name, paths, encoding)
    if description is None:
        description = _page(entry.name, resplit.parent / "task" / f"{entry.name}.txt")
    spec = _spec(entry, train, sample, description)
    table = Table(spec, train, test, sample, answers / "test_answer.csv", encoding)
    check_table(table)
    return table


def _spec(entry: Entry, train: Path, sample: Path, description: str) -> TableSpec:
    columns = csvs.header(sample, entry.name)
    targets = (
        [name for name in columns if name != entry.id] if entry.targets == ("*",) else list(entry.targets)
    )
    ids = [name for name in columns if name not in targets]
    if len(ids) != 1 or len(columns) != len(targets) + 1:
        raise ConfigError(
            f"task {entry.name}: {sample} must have an id and the columns {', '.join(targets[:8])}"
        )
    prediction = METRICS[entry.metric].prediction
    return TableSpec(
        id=entry.name,
        task_type=entry.task_type,
        metric=entry.metric,
        prediction=prediction,
        id_column=ids[0],
        target_columns=targets,
        description=escape_headings(description),
        labels=_labels(entry.name, train, targets[0]) if prediction in LABELLED else [],
        split=entry.split,
        origin="DSBench",
        licence=LICENCE,
        baseline=entry.baseline,
        best=entry.best,
    )


def _page(name: str, path: Path) -> str:
    if not path.is_file():
        raise ConfigError(
            f"task {name}: there is no file {path}; env.descriptions=PATH may give its description"
        )
    return pages.cut(path.read_text(encoding="utf-8", errors="replace"))


def _labels(name: str, train: Path, target: str) -> list[str]:
    if not train.is_file() or target not in csvs.header(train, name):
        raise ConfigError(f"task {name}: {train} must have the column {target}")
    values = csvs.read(train, usecols=[target], dtype=str, keep_default_na=False)[target]
    return sorted({canonical(value) for value in values.unique()})

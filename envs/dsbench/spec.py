"""The description of one table task: the record in ``task.yaml`` and the files beside it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf import ConfigError
from conf.text import replaced
from envs.dsbench.metrics import METRICS

TABLES = Path(__file__).parent / "tables"

TASK_TYPES = ("binary", "multiclass", "multilabel", "regression")


@dataclass(frozen=True)
class TableSpec:
    """One table task, as described in ``task.yaml``."""

    id: str
    task_type: str
    """``binary``, ``multiclass``, ``multilabel`` (several columns of probabilities) or ``regression``."""
    metric: str
    """A key of ``metrics.METRICS``."""
    prediction: str
    """``proba`` in [0, 1], ``label`` (one of ``labels``) or ``value`` (a finite number)."""
    id_column: str
    target_columns: list[str]
    """The columns of a submission besides the id."""
    description: str
    labels: list[str] = field(default_factory=list)
    """The sorted classes; empty unless labels are submitted."""
    split: str = "train"
    origin: str = ""
    licence: str = ""
    derived: str = ""
    """Changes to the source's rows."""
    baseline: float | None = None
    """Score of the sample submission; used for the relative performance gap only."""
    best: float | None = None
    """Best possible score; used for the relative performance gap only."""


@dataclass(frozen=True, eq=False)
class Table:
    """A task and the paths of its files. Only the grader may read ``answer``.

    Compared and hashed by identity, so that results can be cached by table.
    """

    spec: TableSpec
    train: Path
    test: Path
    sample: Path
    answer: Path


def read_table(folder: Path) -> Table:
    """Reads the table in ``folder``: ``task.yaml`` and ``{train,test,sample_submission,answer}.csv``.

    Raises:
        ConfigError: a file is missing or invalid.
    """
    names = ("train", "test", "sample_submission", "answer")
    table = Table(read_spec(folder / "task.yaml"), *(folder / f"{name}.csv" for name in names))
    check_table(table)
    return table


def read_spec(path: Path) -> TableSpec:
    """Reads a ``TableSpec``. Raises ``ConfigError`` if the file is missing or invalid."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        values = OmegaConf.create(replaced(OmegaConf.to_container(OmegaConf.load(path))))
        spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TableSpec), values))
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    assert isinstance(spec, TableSpec)
    return spec


def check_table(table: Table) -> None:
    """Raises ``ConfigError`` if the task is inconsistent or a file is missing."""
    spec = table.spec
    for path in (table.train, table.test, table.sample, table.answer):
        if not path.is_file():
            raise ConfigError(f"task {spec.id}: there is no file {path}")
    for path in (table.sample, table.answer):
        if missing := {spec.id_column, *spec.target_columns} - set(header(path)):
            raise ConfigError(f"task {spec.id}: {path} has no column {', '.join(sorted(missing))}")
    if spec.metric not in METRICS:
        raise ConfigError(f"task {spec.id}: metric must be one of {', '.join(METRICS)}; got {spec.metric!r}")
    if spec.split not in ("train", "heldout"):
        raise ConfigError(f"task {spec.id}: split must be train or heldout; got {spec.split!r}")
    if spec.task_type not in TASK_TYPES:
        raise ConfigError(
            f"task {spec.id}: task_type must be one of {', '.join(TASK_TYPES)}; got {spec.task_type!r}"
        )
    if spec.prediction != METRICS[spec.metric].prediction:
        needed = METRICS[spec.metric].prediction
        raise ConfigError(
            f"task {spec.id}: metric {spec.metric} needs prediction {needed}; got {spec.prediction}"
        )
    if not spec.target_columns or (spec.prediction == "label" and len(spec.target_columns) != 1):
        raise ConfigError(f"task {spec.id}: {len(spec.target_columns)} target columns do not fit the metric")
    if spec.prediction == "label" and len(spec.labels) < 2:
        raise ConfigError(f"task {spec.id}: labels must list at least two classes")


def header(path: Path) -> list[str]:
    """Returns the column names of a CSV file; none if it is empty."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])

"""The description of one table task: the record in ``task.yaml`` and the files beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf import ConfigError
from conf.text import replaced
from envs.dsbench import csvs
from envs.dsbench.cells import LABELLED, NUMERIC, quoted
from envs.dsbench.metrics import METRICS, grades

TABLES = Path(__file__).parent / "tables"

TASK_TYPES = ("binary", "multiclass", "multilabel", "regression", "text")
ALIGNMENTS = ("by_id", "by_position")


@dataclass(frozen=True)
class TableSpec:
    """One table task, as described in ``task.yaml``."""

    id: str
    task_type: str
    """``binary``, ``multiclass``, ``multilabel`` (several columns of probabilities), ``regression`` or
    ``text``."""
    metric: str
    """A key of ``metrics.METRICS``."""
    prediction: str
    """``proba`` in [0, 1], ``label`` (one of ``labels``), ``value`` (a finite number), ``text`` (any that is
    not blank) or ``ranking`` (one or more of ``labels``, the likeliest first)."""
    id_column: str
    target_columns: list[str]
    """The columns of a submission besides the id."""
    description: str
    labels: list[str] = field(default_factory=list)
    """The sorted classes; empty unless labels or rankings of labels are submitted."""
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
    encoding: str = "utf-8"
    """Of ``answer``; the files for agents are UTF-8."""
    align: str = "by_id"
    """How rows of a submission find their answers: one of ``ALIGNMENTS``."""


@dataclass(frozen=True)
class Candidate:
    """A task of a source whose files have not been read yet."""

    id: str
    """The folder's name, if the id stands in a file."""
    load: Callable[[], Table]
    """Raises ``ConfigError`` if the task cannot be used."""


def read_table(folder: Path, encodings: Mapping[str, str]) -> Table:
    """Reads the table in ``folder``: ``task.yaml`` and ``{train,test,sample_submission,answer}.csv``.

    ``encodings``: task id -> encoding of its files, where that is not UTF-8.

    Raises:
        ConfigError: a file is missing or invalid.
    """
    spec = read_spec(folder / "task.yaml")
    paths = [folder / f"{name}.csv" for name in ("train", "test", "sample_submission")]
    encoding = encodings.get(spec.id, "utf-8")
    train, test, sample = agent_files(spec.id, paths, encoding)
    table = Table(spec, train, test, sample, folder / "answer.csv", encoding)
    check_table(table)
    columns = csvs.header(test, spec.id)
    if given := [name for name in spec.target_columns if name in columns]:
        raise ConfigError(f"task {spec.id}: {table.test} has the target {', '.join(given)}")
    if not set(csvs.header(train, spec.id)) - set(columns):
        targets = ", ".join(spec.target_columns)
        raise ConfigError(f"task {spec.id}: {table.train} has no column for the target {targets}")
    return table


def agent_files(task: str, paths: Sequence[Path], encoding: str) -> list[Path]:
    """Returns the paths of files in ``encoding``, or those of copies in UTF-8.

    Raises:
        ConfigError: one of them is not a file, or not in ``encoding``.
    """
    check_files(task, *paths)
    if encoding.lower() in ("utf-8", "utf8"):
        return list(paths)
    return [csvs.utf8_copy(path, task, encoding) for path in paths]


def check_files(task: str, *paths: Path) -> None:
    """Raises ``ConfigError`` if one of ``paths`` is not a file."""
    for path in paths:
        if not path.is_file():
            packed = next(path.parent.glob(f"{path.name}.*"), None)
            hint = f"; unpack {packed.name}" if packed else ""
            raise ConfigError(f"task {task}: there is no file {path}{hint}")


def read_spec(path: Path) -> TableSpec:
    """Reads a ``TableSpec``. Raises ``ConfigError`` if the file is missing or invalid."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        values = OmegaConf.create(replaced(OmegaConf.to_container(OmegaConf.load(path))))
        spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TableSpec), values))
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        text = str(error).partition("\n    full_key")[0]  # OmegaConf's internals follow
        where = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) and error.full_key else ""
        raise ConfigError(f"{path}: {where}{' '.join(text.split())}") from None
    assert isinstance(spec, TableSpec)
    return spec


def write_spec(spec: TableSpec, path: Path) -> None:
    """Writes ``spec`` as ``read_spec`` reads it."""
    path.write_text(OmegaConf.to_yaml(asdict(spec)), encoding="utf-8")


def check_table(table: Table) -> None:
    """Raises ``ConfigError`` if the task is inconsistent or a file lacks a column."""
    spec = table.spec
    check_files(spec.id, table.answer)
    if spec.metric not in METRICS:
        raise ConfigError(f"task {spec.id}: metric must be one of {', '.join(METRICS)}; got {spec.metric!r}")
    if spec.split not in ("train", "heldout"):
        raise ConfigError(f"task {spec.id}: split must be train or heldout; got {spec.split!r}")
    if spec.task_type not in TASK_TYPES:
        raise ConfigError(
            f"task {spec.id}: task_type must be one of {', '.join(TASK_TYPES)}; got {spec.task_type!r}"
        )
    _check_prediction(spec)
    needed = [spec.id_column, *spec.target_columns]
    _check_header(table, table.train, [])
    _check_header(table, table.test, [])
    _check_header(table, table.sample, needed)
    _check_header(table, table.answer, needed)


def _check_prediction(spec: TableSpec) -> None:
    needed = METRICS[spec.metric].prediction
    if spec.prediction != needed:
        raise ConfigError(
            f"task {spec.id}: metric {spec.metric} needs prediction {needed}; got {spec.prediction}"
        )
    if not spec.target_columns or (needed not in NUMERIC and len(spec.target_columns) != 1):
        raise ConfigError(f"task {spec.id}: {len(spec.target_columns)} target columns do not fit the metric")
    if (spec.task_type == "text") != (needed == "text"):
        raise ConfigError(f"task {spec.id}: task_type {spec.task_type} does not fit prediction {needed}")
    if needed in LABELLED:
        _check_labels(spec)


def _check_labels(spec: TableSpec) -> None:
    if len(set(spec.labels)) < 2 or len(set(spec.labels)) < len(spec.labels):
        raise ConfigError(f"task {spec.id}: labels must list at least two classes, each once")
    if spec.metric == "hit_at_3" and len(spec.labels) < 4:
        raise ConfigError(
            f"task {spec.id}: metric hit_at_3 needs four labels or more; got {quoted(spec.labels)}"
        )
    if spec.prediction == "ranking" and (odd := [name for name in spec.labels if name.split() != [name]]):
        raise ConfigError(f"task {spec.id}: ranked labels must be words without spaces; got {quoted(odd)}")
    if spec.metric == "f1" and len(spec.labels) != 2:
        raise ConfigError(
            f"task {spec.id}: metric f1 needs two labels; got {len(spec.labels)}: use f1_macro or f1_micro"
        )
    if spec.metric == "qwk":
        try:
            grades(spec.labels)
        except ValueError as error:
            raise ConfigError(f"task {spec.id}: metric qwk needs {error}") from None


def _check_header(table: Table, path: Path, needed: list[str]) -> None:
    encoding = table.encoding if path == table.answer else "utf-8"
    columns = csvs.header(path, table.spec.id, encoding)
    if not columns:
        raise ConfigError(f"task {table.spec.id}: {path} is empty")
    if missing := set(needed) - set(columns):
        raise ConfigError(
            f"task {table.spec.id}: {path} has no column {', '.join(sorted(missing))}"
            f"{csvs.separator_hint(columns)}; it has {quoted(columns)}"
        )
    special = [table.spec.id_column, *table.spec.target_columns]
    if twice := [name for name in special if columns.count(name) > 1]:
        raise ConfigError(f"task {table.spec.id}: {path} has the column {twice[0]} more than once")

"""Loads tables: bundled or synthetic ones, task folders of the user, or the user's copy of DSBench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

from conf import ConfigError
from envs.dsbench.registry import LICENCE, SORTED, official, registry
from envs.dsbench.spec import TABLES, Candidate, Table, read_spec, read_table
from envs.dsbench.synthetic import Synthetic, synthetic

SOURCES = ("bundled", "synthetic", "official", "local")
SKIP = "env.unusable=skip leaves out tasks that cannot be used"


@dataclass(frozen=True)
class Loaded:
    """The tables of a source."""

    tables: tuple[Table, ...]
    """Sorted by id."""
    skipped: Mapping[str, str]
    """Id of each task that cannot be used -> what is wrong with it."""


@dataclass(frozen=True)
class Choice:
    """Which tasks to load, and how: the settings of ``DSBench.Config`` with the same names."""

    source: str
    root: str | None
    tasks: Sequence[str] | None
    heldout: Sequence[str] | None
    encodings: Mapping[str, str]
    descriptions: Mapping[str, str]
    """Task id -> description that takes the place of its own."""
    align: str
    synthetic: Synthetic
    skip: bool
    """Leave out tasks that cannot be used, instead of raising."""


def load_tables(choice: Choice) -> Loaded:
    """Returns the tables of a source.

    Raises:
        ConfigError: the source is unknown, an id is unknown, no task can be used, or, unless ``choice.skip``,
            one of them cannot be used.
    """
    tables, skipped = _load(_candidates(choice), skip=choice.skip)
    tables.sort(key=lambda table: table.spec.id)
    if twice := [a.spec.id for a, b in pairwise(tables) if a.spec.id == b.spec.id]:
        raise ConfigError(f"two folders have the task id {twice[0]}")
    known = {table.spec.id for table in tables} | skipped.keys()
    _check_known("encodings", list(choice.encodings), known)
    if choice.tasks is not None:
        _check_known("tasks", choice.tasks, known)
        tables = [table for table in tables if table.spec.id in choice.tasks]
    if choice.heldout is not None:
        _check_known("heldout", choice.heldout, known)
        tables = [
            _with_split(table, "heldout" if table.spec.id in choice.heldout else "train") for table in tables
        ]
    described = (_described(table, choice.descriptions) for table in tables)
    return Loaded(tuple(_aligned(table, choice) for table in described), skipped)


def _candidates(choice: Choice) -> list[Candidate]:
    sources = choice.source.split("+")
    if not set(sources) <= set(SOURCES) or len(set(sources)) < len(sources):
        raise ConfigError(
            f"source must be {', '.join(SOURCES)}, or several of them, as bundled+synthetic; "
            f"got {choice.source!r}"
        )
    return [
        candidate for source in sources for candidate in _of_source(source, choice, alone=len(sources) == 1)
    ]


def _of_source(source: str, choice: Choice, *, alone: bool) -> list[Candidate]:
    if source == "synthetic":
        return synthetic(choice.synthetic, choice.tasks)
    if source == "bundled":
        return local(TABLES, choice.encodings) if choice.encodings else _bundled()
    if choice.root is None:
        raise ConfigError(f"source={source} needs root, the folder of the data")
    root = Path(choice.root).expanduser()
    if source == "local":
        return local(root, choice.encodings)
    names = choice.tasks
    if names is not None and not alone:
        names = [name for name in names if name in registry()]
    return official(root, names, choice.encodings, choice.descriptions)


@cache
def _bundled() -> list[Candidate]:
    """The bundled tables, which do not change: each is read once, however many environments there are."""
    return [replace(each, load=cache(each.load)) for each in local(TABLES, {})]


def licences() -> dict[str, str]:
    """Returns the licence of the data of every task that we bundle or know: name -> licence."""
    bundled = (read_spec(path) for path in sorted(TABLES.glob("*/task.yaml")))
    return dict.fromkeys(registry(), LICENCE) | {spec.id: spec.licence for spec in bundled}


def _load(candidates: Sequence[Candidate], *, skip: bool) -> tuple[list[Table], dict[str, str]]:
    tables, skipped = [], {}
    for candidate in candidates:
        try:
            tables.append(candidate.load())
        except ConfigError as error:
            if not skip:
                error.add_note(SKIP)
                raise
            skipped[candidate.id] = str(error)
    return tables, skipped


def local(root: Path, encodings: Mapping[str, str]) -> list[Candidate]:
    """Returns the tables in ``root`` or in its subfolders, in the format of ``spec.read_table``."""
    if not root.is_dir():
        raise ConfigError(f"there is no folder {root}")
    folders = [root] if (root / "task.yaml").is_file() else [path.parent for path in root.glob("*/task.yaml")]
    if not folders:
        raise ConfigError(f"no folder under {root} has a task.yaml")
    return [
        Candidate(folder.name, lambda folder=folder: read_table(folder, encodings))  # type: ignore[misc]
        for folder in sorted(folders)
    ]


def _check_known(setting: str, names: Sequence[str], known: set[str]) -> None:
    if unknown := sorted(set(names) - known):
        raise ConfigError(f"{setting} has unknown task ids: {', '.join(unknown)}")


def _with_split(table: Table, split: str) -> Table:
    return replace(table, spec=replace(table.spec, split=split))


def _aligned(table: Table, choice: Choice) -> Table:
    by_id = choice.source == "official" and table.spec.id in SORTED
    align = "by_id" if by_id else choice.align
    return table if table.align == align else replace(table, align=align)  # read_answer knows each object


def _described(table: Table, descriptions: Mapping[str, str]) -> Table:
    description = descriptions.get(table.spec.id)
    return replace(table, spec=replace(table.spec, description=description)) if description else table

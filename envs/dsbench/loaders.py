"""Loads tables: the bundled ones, task folders of the user, or the user's copy of DSBench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from conf import ConfigError
from envs.dsbench.registry import official
from envs.dsbench.spec import TABLES, Table, read_table


def load_tables(
    source: str,
    root: str | None,
    names: Sequence[str] | None,
    heldout: Sequence[str] | None,
    encodings: Mapping[str, str],
) -> list[Table]:
    """Returns the tables of a source, sorted by id.

    ``names``: ids of the tables to load; None: all. ``heldout``: ids of the held-out tables, all others are
    for training; None: each table's own split. ``encodings``: task id -> encoding of its files, where that is
    not UTF-8.

    Raises:
        ConfigError: the source is unknown, files are missing, or an id is unknown.
    """
    if source != "bundled" and root is None:
        raise ConfigError(f"source={source} needs root, the folder of the data")
    folder = Path(root).expanduser() if root is not None and source != "bundled" else TABLES
    if source == "official":
        tables = official(folder, names, encodings)
    elif source in ("bundled", "local"):
        tables = local(folder, names, encodings)
    else:
        raise ConfigError(f"source must be bundled, official or local; got {source!r}")
    tables.sort(key=lambda table: table.spec.id)
    if twice := [a.spec.id for a, b in pairwise(tables) if a.spec.id == b.spec.id]:
        raise ConfigError(f"two folders have the task id {twice[0]}")
    _check_known("encodings", list(encodings), tables)
    if heldout is None:
        return tables
    _check_known("heldout", heldout, tables)
    return [_with_split(table, "heldout" if table.spec.id in heldout else "train") for table in tables]


def local(root: Path, names: Sequence[str] | None, encodings: Mapping[str, str]) -> list[Table]:
    """Returns the tables in ``root`` or in its subfolders, in the format of ``spec.read_table``."""
    if not root.is_dir():
        raise ConfigError(f"there is no folder {root}")
    folders = [root] if (root / "task.yaml").is_file() else [path.parent for path in root.glob("*/task.yaml")]
    if not folders:
        raise ConfigError(f"no folder under {root} has a task.yaml")
    tables = [read_table(folder, encodings) for folder in sorted(folders)]
    if names is None:
        return tables
    _check_known("tasks", names, tables)
    return [table for table in tables if table.spec.id in names]


def _check_known(setting: str, names: Sequence[str], tables: Sequence[Table]) -> None:
    if unknown := sorted(set(names) - {table.spec.id for table in tables}):
        raise ConfigError(f"{setting} has unknown task ids: {', '.join(unknown)}")


def _with_split(table: Table, split: str) -> Table:
    return replace(table, spec=replace(table.spec, split=split))

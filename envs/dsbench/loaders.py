"""Where tasks come from: the bundled tables, folders of the user's, or the user's copy of DSBench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conf import ConfigError
from envs.dsbench.registry import official
from envs.dsbench.spec import TABLES, Table, read_table


def load_tables(
    source: str, root: str | None, names: Sequence[str] | None, heldout: Sequence[str] | None
) -> list[Table]:
    """Tables of a source, sorted by id.

    ``names``: ids of those wanted; None: all. ``heldout``: ids of those that are held out, the others train;
    None: as the tables say themselves.

    Raises:
        ConfigError: no such source, files are missing, or an id is not there.
    """
    if source != "bundled" and root is None:
        raise ConfigError(f"source={source} needs a root: the folder in which the data lie")
    folder = Path(root).expanduser() if root is not None and source != "bundled" else TABLES
    if source == "official":
        tables = official(folder, names)
    elif source in ("bundled", "local"):
        tables = local(folder, names)
    else:
        raise ConfigError(f"source must be bundled, official or local, not {source!r}")
    tables.sort(key=lambda table: table.spec.id)
    if heldout is None:
        return tables
    _known("heldout", heldout, tables)
    return [_with_split(table, "heldout" if table.spec.id in heldout else "train") for table in tables]


def local(root: Path, names: Sequence[str] | None) -> list[Table]:
    """The tables in the folders under ``root`` (or in ``root`` itself), each as ``spec.read_table`` wants
    it."""
    if not root.is_dir():
        raise ConfigError(f"there is no folder {root}")
    folders = [root] if (root / "task.yaml").is_file() else [path.parent for path in root.glob("*/task.yaml")]
    if not folders:
        raise ConfigError(f"no folder under {root} holds a task.yaml")
    tables = [read_table(folder) for folder in folders]
    if names is None:
        return tables
    _known("tasks", names, tables)
    return [table for table in tables if table.spec.id in names]


def _known(setting: str, names: Sequence[str], tables: Sequence[Table]) -> None:
    if unknown := sorted(set(names) - {table.spec.id for table in tables}):
        raise ConfigError(f"{setting} names no such task: {', '.join(unknown)}")


def _with_split(table: Table, split: str) -> Table:
    return replace(table, spec=replace(table.spec, split=split))

"""Parts within parts, ``coach.env=[{name: ledger}]``: those of the folder that ``--config-dir`` adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

import conf


def complete(config: DictConfig, folder: Path) -> None:
    """Gives every node within a part of ``config``, such as ``{name: ledger}``, the values of
    ``<folder>/<group>/ledger.yaml`` that it leaves out. What has a YAML in ``conf`` is left to
    ``conf.fill_defaults``.

    Other processes and a resumed run then need the folder no more.

    Raises:
        ConfigError: a YAML of the folder cannot be read.
    """
    for group in [str(key) for key in config if (conf.ROOT / str(key)).is_dir()]:
        node = OmegaConf.to_container(config[group]) if isinstance(config[group], DictConfig) else None
        completed = _inside(group, node, folder)
        if completed != node:
            with open_dict(config):
                config[group] = completed


def _inside(group: str, value: Any, folder: Path) -> Any:
    """Returns a setting with the nodes within it completed."""
    if isinstance(value, list):
        return [_node(group, item, folder) for item in value]
    if isinstance(value, Mapping):
        return {key: _node(conf.group_of(str(key), group), item, folder) for key, item in value.items()}
    return value


def _node(group: str, value: Any, folder: Path) -> Any:
    name = value.get("name") if isinstance(value, Mapping) else None
    path = folder / group / f"{name}.yaml"
    if isinstance(name, str) and name not in conf.names(group) and path.is_file():
        own: Any = OmegaConf.to_container(conf.load(group, str(path)))
        value = {**own, **value, "name": own["name"]}
    return _inside(group, value, folder)

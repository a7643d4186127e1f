"""What an earlier version wrote into ``config.yaml``, in the settings of today."""

from __future__ import annotations

from typing import cast

from omegaconf import DictConfig, OmegaConf

import conf
from learners.config import PARTS

VALUES = {"algorithm.deviation": {True: "population"}}
"""Former values of settings -> those that mean the same today."""
ABSENT = {"env.style": "compact"}
"""Settings -> what runs did before there was such a setting, where that is not its default."""
GONE = {"model.warm_start": "model=tiny was trained on the machine of the run; its weights are others today"}
"""Settings without which a run cannot go on as it was -> why."""


def upgraded(config: DictConfig) -> DictConfig:
    """Returns ``config`` with the settings that it does not have yet, at their defaults.

    Raises:
        ConfigError: this version cannot continue the run.
    """
    for path, reason in GONE.items():
        if OmegaConf.select(config, path) is not None:
            raise conf.ConfigError(f"an earlier version made the run, with {path}: {reason}")
    current = OmegaConf.load(conf.ROOT / "config.yaml")
    known = {key: value for key, value in current.items() if key not in ("defaults", "hydra")}
    result = cast(DictConfig, OmegaConf.merge(known, config))
    for group in PARTS:
        if isinstance(node := result.get(group), DictConfig) and isinstance(node.get("name"), str):
            result[group] = conf.add_missing(group, node)
    for path, value in ABSENT.items():
        if OmegaConf.select(config, path) is None and OmegaConf.select(result, path) is not None:
            OmegaConf.update(result, path, value)
    for agent, own in (result.get("team") or {}).items():
        for group, node in own.items():
            if isinstance(node, DictConfig) and isinstance(node.get("name"), str):
                result.team[agent][group] = conf.add_missing(group, node)
    for path, values in VALUES.items():
        if (value := OmegaConf.select(result, path)) in values:
            OmegaConf.update(result, path, values[value])
    return result

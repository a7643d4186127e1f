"""Configurations that only evaluate: held-out tasks are played once, and nothing learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

import conf
from conf import ConfigError
from learners.run import checkpoint, folder


def only_evaluated(config: DictConfig) -> DictConfig:
    """``config`` without training, and with an evaluation."""
    changes = {"steps": 0, "evaluation": {"every": 1}, "resume": False}
    return cast(DictConfig, OmegaConf.merge(config, changes))


def of_run(run: Path, words: Sequence[str] = ()) -> DictConfig:
    """What evaluates the newest checkpoint of a run: its own configuration, changed by ``words``.

    ``words`` are as on the command line: ``coach=llm``, ``coach.max_cost=2``, ``evaluation.tasks=null``.

    Raises:
        ConfigError: there is no run or no checkpoint, or a word is no setting.
        OmegaConfBaseException: a word is no setting of the run.
    """
    if not (run / folder.CONFIG).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {folder.CONFIG}")
    if checkpoint.latest(run) is None:
        raise ConfigError(f"{run} has no checkpoint to evaluate")
    whole = cast(DictConfig, OmegaConf.load(conf.ROOT / "config.yaml"))
    known = {key: whole[key] for key in whole if key not in ("defaults", "hydra")}
    trained = OmegaConf.load(run / folder.CONFIG)  # by an older version perhaps, that knew fewer settings
    own = {"evaluation": {"run": str(run)}, "run_dir": None}
    return only_evaluated(_changed(cast(DictConfig, OmegaConf.merge(known, trained, own)), words))


def _changed(config: DictConfig, words: Sequence[str]) -> DictConfig:
    """``config`` with settings of a command line; a group that is named is taken from its YAML."""
    OmegaConf.set_struct(config, True)
    named = [word.split("=")[0] for word in words if (conf.ROOT / word.split("=")[0]).is_dir()]
    rest = list(words)
    for group in named:
        own = [word for word in words if word.startswith((f"{group}=", f"{group}."))]
        config[group] = conf.choose(group, own)
        rest = [word for word in rest if word not in own]
    return cast(DictConfig, OmegaConf.merge(config, OmegaConf.from_dotlist(rest)))

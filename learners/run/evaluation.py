"""Configurations that only evaluate: held-out tasks are played once, and nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

import conf
from conf import ConfigError
from learners.run import checkpoint
from learners.run.folder import read_config


def evaluation_only(config: DictConfig) -> DictConfig:
    """Returns ``config`` without training and with an evaluation."""
    changes = {"steps": 0, "evaluation": {"every": 1}, "resume": False}
    return cast(DictConfig, OmegaConf.merge(config, changes))


def evaluation_of(run: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Returns a configuration that evaluates the newest checkpoint of the run folder ``run``.

    It is the run's own, changed by ``overrides`` as on the command line: ``coach=llm``, ``coach.max_cost=2``,
    ``evaluation.tasks=null``.

    Raises:
        ConfigError: it is not a run folder or has no checkpoint, or an override is invalid.
        OmegaConfBaseException: an override names a setting that the run does not have.
    """
    trained = read_config(run)
    if checkpoint.latest(run) is None:
        raise ConfigError(f"{run} has no checkpoint to evaluate")
    own = {"evaluation": {"run": str(run)}, "run_dir": None}
    return evaluation_only(_changed(cast(DictConfig, OmegaConf.merge(trained, own)), overrides))


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

"""Configurations that only evaluate: held-out tasks are played once, and nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from conf import ConfigError, commands
from learners.config import RunConfig
from learners.run import checkpoint
from learners.run.folder import located, read_config


def evaluation_only(config: DictConfig) -> DictConfig:
    """Returns ``config`` without training and with an evaluation."""
    changes = {"steps": 0, "evaluation": {"every": 1}, "resume": False}
    return cast(DictConfig, OmegaConf.merge(config, changes))


def evaluation_of(run: Path, overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> DictConfig:
    """Returns a configuration that evaluates the newest checkpoint of the run folder ``run``.

    It is the run's own, changed by ``overrides`` as on the command line: ``coach=llm``, ``coach.max_cost=2``,
    ``evaluation.tasks=null``.

    Raises:
        ConfigError: it is not a run folder or has no checkpoint, or an override is invalid.
    """
    run = located(run)
    trained = read_config(run)
    if checkpoint.latest(run) is None:
        raise ConfigError(f"{run} has no checkpoint to evaluate")
    own = {"evaluation": {"run": str(run)}, "run_dir": None, "trace": {"otlp": None}}
    whole = cast(DictConfig, OmegaConf.merge(trained, own))
    return evaluation_only(commands.compose_onto(whole, overrides, config_dir=config_dir))


def replaced_weights(run: Path, config: RunConfig) -> dict[str, str]:
    """Returns the agents to which ``config`` gives weights of their own (``team.<agent>.model.path``) that
    they did not have in the run folder ``run``, and the paths of these weights."""
    played = _own_paths(RunConfig.read(read_config(run)))
    return {agent: path for agent, path in _own_paths(config).items() if played.get(agent) != path}


def _own_paths(config: RunConfig) -> dict[str, str]:
    """Returns the ``model.path`` of each agent that has another one than the run."""
    models = {agent: own.model for agent, own in config.team.items() if own.model is not None}
    paths = {agent: model.get("path") for agent, model in models.items()}
    return {agent: path for agent, path in paths.items() if path not in (None, config.model.get("path"))}

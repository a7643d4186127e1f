"""What a run is called in names of folders and in tables: its algorithm, and the models that play."""

from __future__ import annotations

import re
from collections.abc import Iterable

from omegaconf import DictConfig

from learners.config import RunConfig
from learners.runtimes.capabilities import generator_called

_LONGEST = 60
"""Characters of the models in a folder's name: names of files have at most 255 bytes."""


def played_model(model: DictConfig | None, generator: DictConfig, policy: str) -> str:
    """Returns the model that plays a policy: that of the server where ``model`` is None, because it is
    hosted; else its path, or its name without one."""
    if model is not None:
        return str(model.get("path") or model.name)
    models, endpoint = generator.get("models", {}), generator.get("endpoint", {})
    return str(models.get(policy, endpoint.get("model", generator.name)))


def trained_by(config: RunConfig) -> str | None:
    """Returns the algorithm that trains the run's weights, or has trained those that it evaluates; None for
    models as they came."""
    return str(config.algorithm.name) if config.steps or config.evaluation.run else None


def title(config: RunConfig, models: Iterable[str]) -> str:
    """Returns algorithm and models for people: ``reinforcepp, tiny``."""
    return ", ".join([*filter(None, [trained_by(config)]), " + ".join(dict.fromkeys(models))])


def folder_name(config: RunConfig) -> str:
    """Returns what the name of a new run's folder says: ``reinforcepp-tiny-rules-seed0``.

    Its models are the run's and those of single agents; of a path, the last part.
    """
    kind = [] if config.steps else ["evaluation"]
    algorithm = [_last(name, ".") for name in filter(None, [trained_by(config)])]
    models = "+".join(dict.fromkeys(_file_name(model) for model in _models(config)))[:_LONGEST]
    return "-".join([*kind, *algorithm, models, str(config.coach.name), f"seed{config.seed}"])


def _models(config: RunConfig) -> list[str]:
    nodes = [(config.model, config.generator)]
    nodes += [(own.model or config.model, own.generator or config.generator) for own in config.team.values()]
    models = []
    for model, generator in nodes:
        hosted = not generator_called(generator.name).trains
        models.append(played_model(None if hosted else model, generator, ""))
        models += map(str, generator.get("models", {}).values()) if hosted else ()
    return models


def _file_name(model: str) -> str:
    """Returns the last part of a model's path, with what a file's name should not have replaced."""
    return re.sub(r"[^\w.+-]+", "_", _last(model, "/")) or "model"


def _last(name: str, separator: str) -> str:
    return name.rstrip(separator).rpartition(separator)[2]

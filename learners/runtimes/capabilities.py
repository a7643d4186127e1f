"""What a plug-in declares about itself on its class, and is known before anything is built."""

from __future__ import annotations

from typing import Any

import conf
from conf import ConfigError
from learners.base import Generator, WeightsKind
from learners.config import RunConfig


def generator_class(config: RunConfig) -> type[Generator]:
    """Returns the class of the run's generator."""
    return generator_called(config.generator.name)


def generator_called(name: str) -> type[Generator]:
    """Returns the class of a generator, whose ``trains`` and ``lockstep`` are known before it is built."""
    return _declaring("generators", name, "trains", "lockstep")


def weights_class(config: RunConfig) -> type[WeightsKind]:
    """Returns the class of the weights plug-in, whose ``shares_base`` is known before it is built."""
    return _declaring("weights", config.weights.name, "shares_base")


def _declaring(group: str, name: str, *capabilities: str) -> type[Any]:
    cls = conf.plugin_class(f"learners.{group}", name)
    for capability in capabilities:
        if not isinstance(getattr(cls, capability, None), bool):
            raise ConfigError(
                f"{group} {name}: the class {cls.__name__} must set {capability} to True or False "
                "(see learners/base.py)"
            )
    return cls

"""What every kind of weights shares: the checksum that ties a checkpoint to its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from conf import ConfigError

if TYPE_CHECKING:
    pass


def fingerprint(model: Any) -> float:
    """Returns a checksum of the weights."""
    return float(sum(parameter.detach().double().abs().sum() for parameter in model.parameters()))


def check_origin(name: str, state: Mapping[str, Any], origin: float | None) -> None:
    """Raises ``ConfigError`` if the initial weights of ``state`` did not have the checksum ``origin``."""
    if state["origin"] != origin:
        raise ConfigError(f"the initial weights of {name} are not those its checkpoint was trained from")

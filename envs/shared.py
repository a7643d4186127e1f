"""The settings that every environment takes, also one whose scenario has no such settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import conf
from conf import ConfigError
from conf.ranges import Count, Natural
from envs.base import Scenario
from sandbox.base import LimitChanges


@dataclass
class Shared:
    """The optional members of a ``Scenario``; ``conf/env/base.yaml`` explains each. Only those that are given
    are set, so these defaults are never used."""

    limits: LimitChanges = field(default_factory=LimitChanges)
    output_chars: Natural = 0
    style: str = ""
    reply_tokens: Count | None = None
    session: str = ""


def build_scenario(name: str, settings: Mapping[str, Any]) -> Scenario:
    """Builds the scenario that ``envs.make`` finds under ``name``. Shared settings that its ``Config`` lacks
    become attributes, which is where the environment looks for them.

    Raises:
        ConfigError: there is no such environment or setting, or a value is wrong.
    """
    config = conf.plugin_class("envs", conf.load("env", name).name).Config
    apart = {one.name for one in fields(Shared)} - {one.name for one in fields(config)}
    own = {key: value for key, value in settings.items() if key not in apart}
    scenario: Scenario = conf.build("envs", conf.load("env", name, **own))
    given = {key: value for key, value in settings.items() if key in apart}
    shared = conf.typed(Shared, given)
    for key in given:
        try:
            setattr(scenario, key, getattr(shared, key))
        except AttributeError:
            raise ConfigError(
                f"{name} has no setting {key!r}, and its scenario takes no attributes"
            ) from None
    return scenario

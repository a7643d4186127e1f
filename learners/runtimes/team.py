"""Who plays which agent: the policies of a run, what each of them samples from, and which of them learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from conf import ConfigError
from envs.base import Scenario
from learners.config import RunConfig
from learners.runtimes.capabilities import generator_called, generator_class
from learners.runtimes.naming import played_model

LONGEST = 200
"""Bytes of a role's name: names of files have at most 255, and some more are added."""
SHARED = "shared"
"""The name of the one policy of all agents."""


@dataclass(frozen=True)
class PolicySpec:
    """One policy, before anything of it is loaded."""

    name: str
    model: DictConfig | None
    """The node of its model; None: it is hosted, and has no weights here."""
    generator: DictConfig
    """The node of what samples for it."""
    learns: bool
    """Whether it is updated. A policy that is not keeps its initial weights."""

    @property
    def reply_tokens(self) -> int | None:
        """Tokens of its longest reply; None: unknown."""
        return _reply_tokens(self.model, self.generator)

    def describe(self) -> dict[str, Any]:
        """Returns what the records of a run say of it."""
        model = played_model(self.model, self.generator, self.name)
        own = {"model": model, "generator": str(self.generator.name), "learns": self.learns}
        return {"policy": self.name, **own}


@dataclass(frozen=True)
class Team:
    """Which policy plays which agent."""

    owners: Mapping[str, str]
    """Agent -> the name of its policy, in the order of play."""
    policies: Mapping[str, PolicySpec]
    """By name, in the order of play."""

    @property
    def local(self) -> list[PolicySpec]:
        """The policies with weights of ours."""
        return [policy for policy in self.policies.values() if policy.model is not None]

    def hosted(self) -> list[tuple[DictConfig, list[str]]]:
        """Returns each generator of policies without weights, with the names of the policies it plays."""
        apart = [policy for policy in self.policies.values() if policy.model is None]
        groups = alike(apart, lambda policy: policy.generator)
        return [(members[0].generator, [one.name for one in members]) for members in groups]

    def describe(self) -> dict[str, dict[str, Any]]:
        """Returns each agent's policy, model and generator, and whether it learns."""
        return {agent: self.policies[owner].describe() for agent, owner in self.owners.items()}


def team_of(config: RunConfig, scenario: Scenario) -> Team:
    """Returns the team that plays ``scenario``; raises as ``read_team``."""
    return read_team(config, scenario.name, [role.name for role in scenario.roles])


def read_team(config: RunConfig, env: str, agents: Sequence[str]) -> Team:
    """Returns the team of the environment ``env``, whose ``agents`` are in the order of play.

    Raises:
        ConfigError: an agent's name cannot be that of a file, or of a metric, where ``/`` separates names; or
        ``team`` or ``learn`` names none of the agents, or contradicts the other settings.
    """
    check_team(config)
    _check_names(config, env, agents)
    owners = {agent: _owner(config, agent) for agent in agents}
    policies = {}
    for name in dict.fromkeys(owners.values()):
        played = [agent for agent in agents if owners[agent] == name]
        policies[name] = _policy(config, name, played)
    team = Team(owners, policies)
    if config.steps and not any(policy.learns for policy in policies.values()):
        raise ConfigError(f"env {env}: no agent of this run learns: set steps=0 to evaluate the team")
    return team


def told_tokens(config: RunConfig, scenario: Scenario, team: Team) -> dict[str, int | None] | None:
    """Returns how long a reply of each agent may be.

    None where ``env.reply_tokens`` holds for all of them: it was set by hand, or agents do not differ.
    """
    model = config.model if generator_class(config).trains else None
    told = getattr(scenario, "reply_tokens", None)
    if not config.team or told is None or told != _reply_tokens(model, config.generator):
        return None
    return {agent: team.policies[owner].reply_tokens for agent, owner in team.owners.items()}


def check_team(config: RunConfig) -> None:
    """Checks ``team`` and ``learn`` as far as that needs no environment.

    Raises:
        ConfigError: they contradict each other, or the settings of the run.
    """
    for agent, own in config.team.items():
        where = f"team.{agent}"
        if own.generator is not None and generator_called(own.generator.name).trains:
            raise ConfigError(
                f"{where}.generator={own.generator.name} samples from weights, which the run's own generator "
                "does: choose one for inference here, such as api"
            )
        if own.model is not None and _hosted_by(config, agent):
            raise ConfigError(
                f"{where}.model has no effect: {_hosted_by(config, agent)} plays {agent}, with its own model"
            )
        _check_style(config, where, own.model)
        if own.model is not None and config.policies == SHARED:
            raise ConfigError(
                f"{where}.model: with policies=shared one model plays all agents: set policies=independent"
            )
    for agent in config.learn or ():
        if config.learn and config.learn.count(agent) > 1:
            raise ConfigError(f"learn names {agent} more than once")
        if chosen := _hosted_by(config, agent):
            raise ConfigError(f"learn names {agent}, but {chosen} plays it and has no weights to train")
    if config.steps and config.learn is not None and not config.learn:
        raise ConfigError("learn=[] trains no agent: set steps=0, or learn=null for all agents")


def _check_style(config: RunConfig, where: str, model: DictConfig | None) -> None:
    """Raises ``ConfigError`` if a ``model`` that reads one style only would get another one."""
    if model is None or model.name == config.model.name:
        return
    style, written = model.get("style"), config.env.get("style")
    if style and written and style != written:
        raise ConfigError(
            f"{where}.model={model.name} reads env.style={style}, but agents get env.style={written}"
        )


def _reply_tokens(model: DictConfig | None, generator: DictConfig) -> int | None:
    if model is not None:
        tokens: int | None = model.get("max_new_tokens")
    else:
        tokens = generator.get("endpoint", {}).get("max_tokens")
    return tokens


def _check_names(config: RunConfig, env: str, agents: Sequence[str]) -> None:
    for name in agents:
        if name in ("", ".", "..") or {"/", "\0"} & set(name) or len(name.encode(errors="replace")) > LONGEST:
            raise ConfigError(f"env {env}: a role cannot be called {name!r}: it names files")
    for setting, named in (("team", list(config.team)), ("learn", config.learn or [])):
        if unknown := [name for name in named if name not in agents]:
            raise ConfigError(
                f"{setting} names {unknown[0]!r}, but the agents of env {env} are {', '.join(agents)}"
            )
    own = config.team.get(SHARED)
    if config.policies == SHARED and own is not None and own.generator is not None:
        raise ConfigError(f"team.{SHARED}.generator: policies=shared gives this name to the others' policy")


def _owner(config: RunConfig, agent: str) -> str:
    """The name of the agent's policy: its own, also where others share one, if its generator is its own."""
    own = config.team.get(agent)
    apart = own is not None and own.generator is not None
    return agent if apart or config.policies != SHARED else SHARED


def _policy(config: RunConfig, name: str, agents: Sequence[str]) -> PolicySpec:
    """Raises ``ConfigError`` if only some of the ``agents`` that share the policy learn."""
    own = config.team.get(agents[0])
    generator = own.generator if own is not None and own.generator is not None else config.generator
    if not generator_called(generator.name).trains:
        return PolicySpec(name, None, generator, learns=False)
    model = own.model if own is not None and own.model is not None else config.model
    learning = [agent for agent in agents if config.learn is None or agent in config.learn]
    if learning and len(learning) < len(agents):
        left_out = ", ".join(agent for agent in agents if agent not in learning)
        raise ConfigError(
            f"learn leaves out {left_out}, but with policies=shared the same weights play all agents: "
            "set policies=independent, or name all of them"
        )
    return PolicySpec(name, model, generator, learns=bool(learning))


def _hosted_by(config: RunConfig, agent: str) -> str | None:
    """The setting by which an agent has no weights here; None: it has."""
    own = config.team.get(agent)
    if own is not None and own.generator is not None:
        return f"team.{agent}.generator={own.generator.name}"
    return None if generator_class(config).trains else f"generator={config.generator.name}"


def alike(policies: Sequence[PolicySpec], key: Callable[[PolicySpec], object]) -> list[list[PolicySpec]]:
    """Returns the policies in groups that have equal ``key``s, which need no hash, as nodes have none."""
    groups: list[list[PolicySpec]] = []
    for policy in policies:
        equal = [group for group in groups if key(group[0]) == key(policy)]
        if equal:
            equal[0].append(policy)
        else:
            groups.append([policy])
    return groups

"""The typed configuration of a run: its own settings as validated records, and the node of each of its parts.

Types and ranges are here; values are in ``conf/config.yaml``. A part's own settings are its class's
``Config``, checked when the part is built (``conf.build``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

import conf
from conf import ConfigError
from conf.errors import unknown_setting

PARTS = ("env", "coach", "sandbox", "model", "weights", "generator", "runtime", "algorithm")
"""The groups of ``conf`` that a run is made of, in the order of ``config.yaml``."""
OWN_PARTS = ("model", "generator")
"""The groups of which an agent may have a part of its own."""
POLICIES = ("independent", "shared")
RECORDED_TOKENS = ("none", "sample", "all")
WANDB_MODES = ("disabled", "offline", "online")
LARGEST = 1_000_000
"""Upper bound of every count and temperature: anything larger is a typing error that would exhaust memory."""
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class RolloutSettings:
    """How the episodes of a training step are played."""

    tasks: int
    episodes: int
    """Of each task."""
    concurrency: int
    groups: int
    """At most as many as ``concurrency``."""
    temperature: float
    deferred: bool
    staleness: int
    max_lost: float

    def __post_init__(self) -> None:
        for name in ("tasks", "episodes", "concurrency", "groups"):
            _check_range(f"rollout.{name}", getattr(self, name), 1)
        _check_range("rollout.temperature", self.temperature, 0)
        _check_choice("rollout.staleness", self.staleness, (0, 1))
        _check_range("rollout.max_lost", self.max_lost, 0, 1)


@dataclass(frozen=True)
class EvaluationSettings:
    """How held-out tasks are played."""

    every: int
    """Steps; 0: never."""
    tasks: int | None
    """None: all."""
    episodes: int
    """Of each task."""
    temperature: float
    coached: bool
    run: str | None
    """Run folder whose newest checkpoint is evaluated."""

    def __post_init__(self) -> None:
        _check_range("evaluation.every", self.every, 0)
        if self.tasks is not None:
            _check_range("evaluation.tasks", self.tasks, 1)
        _check_range("evaluation.episodes", self.episodes, 1)
        _check_range("evaluation.temperature", self.temperature, 0)
        _check_not_empty("evaluation.run", self.run)


@dataclass(frozen=True)
class CheckpointSettings:
    """When the run is saved."""

    every: int
    """Steps."""
    keep: int

    def __post_init__(self) -> None:
        _check_range("checkpoint.every", self.every, 1)
        _check_range("checkpoint.keep", self.keep, 1)


@dataclass(frozen=True)
class RecordSettings:
    """What a training run keeps besides its episodes and metrics."""

    tokens: str
    """Which training episodes' tokens go to ``tokens.jsonl``: ``none``, in every step the first of each task
    (``sample``), or ``all``."""

    def __post_init__(self) -> None:
        _check_choice("record.tokens", self.tokens, RECORDED_TOKENS)


@dataclass(frozen=True)
class WandbSettings:
    """Weights & Biases."""

    mode: str
    project: str
    turns: int
    """Rows of the table of turns; 0: no table."""

    def __post_init__(self) -> None:
        _check_choice("wandb.mode", self.mode, WANDB_MODES)
        _check_range("wandb.turns", self.turns, 0)
        _check_not_empty("wandb.project", self.project)


@dataclass(frozen=True)
class TraceSettings:
    """OpenTelemetry."""

    otlp: str | None
    """A file, or the http address of an endpoint; None: no spans are made."""

    def __post_init__(self) -> None:
        _check_not_empty("trace.otlp", self.otlp)


@dataclass(frozen=True)
class RunSettings:
    """Every setting of ``config.yaml`` that belongs to the run and not to one of its parts."""

    seed: int
    steps: int
    policies: str
    learn: list[str] | None
    """The agents whose policies are updated; None: all that have weights."""
    run_dir: str | None
    resume: bool
    rollout: RolloutSettings
    evaluation: EvaluationSettings
    checkpoint: CheckpointSettings
    record: RecordSettings
    wandb: WandbSettings
    tensorboard: bool
    """Whether the metrics are also written as TensorBoard's event files."""
    trace: TraceSettings

    def __post_init__(self) -> None:
        _check_range("seed", self.seed, 0, LARGEST_SEED)
        _check_range("steps", self.steps, 0)
        _check_choice("policies", self.policies, POLICIES)
        _check_not_empty("run_dir", self.run_dir)
        if self.steps and self.rollout.temperature != 1.0:
            raise ConfigError(
                f"rollout.temperature must be 1 when training, not {self.rollout.temperature:g}: "
                "advantages and log-probabilities are those of temperature 1"
            )
        if self.steps and self.evaluation.run is not None:
            raise ConfigError("evaluation.run names weights to evaluate, not to train: set steps=0")


@dataclass(frozen=True)
class AgentParts:
    """The parts that one agent has for itself; None: the run's."""

    model: DictConfig | None = None
    generator: DictConfig | None = None

    def container(self) -> dict[str, Any]:
        """Returns those that it has, as dicts, lists and scalars."""
        return {group: conf.to_dict(node) for group, node in vars(self).items() if node is not None}


@dataclass(frozen=True)
class RunConfig(RunSettings):
    """A run: its settings, and one node for each part. A node's ``name`` is the part's module."""

    env: DictConfig
    coach: DictConfig
    sandbox: DictConfig
    model: DictConfig
    weights: DictConfig
    generator: DictConfig
    runtime: DictConfig
    algorithm: DictConfig
    team: Mapping[str, AgentParts]
    """By agent; those that are not named have the run's parts."""

    @classmethod
    def read(cls, config: DictConfig) -> RunConfig:
        """Returns ``config``, as Hydra composes it, checked and with all interpolations resolved.

        Coaches nested in the coach are completed from their own YAMLs. Imports no part.

        Raises:
            ConfigError: a setting is unknown, missing, of the wrong type or out of range, or a part is
            missing.
        """
        unresolved: Any = OmegaConf.to_container(config)
        for group in PARTS:  # before others are resolved that refer to it
            _part(group, unresolved.get(group))
        values = conf.to_dict(config)
        nodes: dict[str, Any] = {group: _part(group, values.pop(group, None)) for group in PARTS}
        nodes["coach"] = conf.fill_defaults("coach", nodes["coach"])
        team = _team(values.pop("team", None), nodes)
        settings = conf.typed(RunSettings, values)
        own = {field.name: getattr(settings, field.name) for field in fields(settings)}
        return cls(**own, **nodes, team=team)

    def container(self) -> dict[str, Any]:
        """Returns the whole configuration as dicts, lists and scalars, parts first, as in ``config.yaml``."""
        parts = {group: conf.to_dict(getattr(self, group)) for group in PARTS}
        own = {field.name: getattr(self, field.name) for field in fields(RunSettings)}
        nested = {
            key: asdict(value) if hasattr(value, "__post_init__") else value for key, value in own.items()
        }
        return parts | {"team": {agent: own.container() for agent, own in self.team.items()}} | nested


def _team(node: Any, run: Mapping[str, DictConfig]) -> dict[str, AgentParts]:
    """Returns each agent's own parts. One without a ``name`` is the run's with some settings changed."""
    if not isinstance(node, dict):
        raise ConfigError(f"team is a group of settings by agent and cannot be {node!r}")
    team = {}
    for agent, own in node.items():
        where = f"team.{agent}"
        if not isinstance(own, dict):
            raise ConfigError(f"{where} is a group of settings and cannot be {own!r}")
        if extra := [key for key in own if key not in OWN_PARTS]:
            raise ConfigError(unknown_setting(f"{where}.{extra[0]}", dict.fromkeys(OWN_PARTS)))
        parts = {group: _own_part(where, group, given, run[group]) for group, given in own.items() if given}
        team[agent] = AgentParts(**parts)
    return {agent: own for agent, own in team.items() if own != AgentParts()}


def _own_part(where: str, group: str, given: Any, run: DictConfig) -> DictConfig:
    if isinstance(given, str):
        raise ConfigError(
            f"{where}.{group} is a group of settings and cannot be {given!r}: a YAML chooses it in its "
            f"defaults, by - /{group}@{where}.{group}: {given}"
        )
    if isinstance(given, dict) and "name" not in given:
        given = OmegaConf.to_container(OmegaConf.merge(run, given))
    return _part(f"{where}.{group}", given)


def _part(group: str, node: Any) -> DictConfig:
    if node is None:
        raise ConfigError(f"no {group} is chosen: set {group}=<name>")
    if not isinstance(node, dict):
        raise ConfigError(f"{group} is a group of settings and cannot be {node!r}")
    if not isinstance(node.get("name"), str) or node["name"] == "???":
        raise ConfigError(f"{group}.name must be the name of a module, not {node.get('name')!r}")
    part = OmegaConf.create(node)
    assert isinstance(part, DictConfig)
    return part


def _check_range(key: str, value: float, least: float, most: float = LARGEST) -> None:
    """Raises ``ConfigError`` unless ``least <= value <= most``, which NaN never is."""
    if value > most:
        raise ConfigError(f"{key} must be at most {most}, not {value}")
    if not value >= least:
        raise ConfigError(f"{key} must be at least {least}, not {value}")


def _check_choice(key: str, value: str | int, known: tuple[str | int, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{key} must be {_listed(known)}, not {value!r}")


def _check_not_empty(key: str, value: str | None) -> None:
    if value is not None and not value.strip():
        raise ConfigError(f"{key} must not be empty")


def _listed(values: tuple[str | int, ...]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}"

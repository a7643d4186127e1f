"""What a plan has to know about a run, read from the run's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

import conf
from conf import ConfigError
from learners.base import ModelKind
from learners.config import RunConfig
from learners.planning.assumptions import Assume, EpisodeGuess
from learners.planning.shapes import Shapes, read_shapes
from learners.runtimes.capabilities import generator_class, weights_class
from learners.runtimes.team import PolicySpec, Team, alike, read_team
from learners.types import ModelConfig

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Layout:
    """Which processes use GPUs. Policies form groups, each with a trainer (or a frozen base) and engines of
    its own."""

    groups: int
    policies_per_group: int
    ranks: int
    """Trainer processes of each group."""
    engines: int
    """Engines of each group; 0: the group samples from the trained weights in place."""
    gpus: float
    """GPUs of each group."""
    colocated: bool
    """Whether rank i and engine i use the same GPU."""
    processes: int
    """All processes of the run, including those without a GPU."""
    local: bool


@dataclass(frozen=True)
class Adapters:
    """The adapters of ``weights=adapter``."""

    parameters: int
    """Parameters of one policy's adapter."""
    rank: int


@dataclass(frozen=True)
class Job:
    """All that a plan has to know about a run, for policies that have the same model and live together: those
    of one base, or whole models that all learn, or that all do not.

    Where all agents have the same model and learn, a run is one job.
    """

    name: str
    """The model's, and whether anything of it learns."""
    trained_policies: int
    """How many of the policies learn."""
    shapes: Shapes
    model: ModelConfig
    layout: Layout
    adapters: Adapters | None
    """None: whole weights are trained."""
    reference: bool
    """Whether there is a KL reference."""
    offload: bool
    """Whether the reference is in host memory."""
    engine_share: float
    """Share of a GPU's memory for the engines of one process."""
    max_sequences: int
    """Most sequences that an engine samples at once."""
    tensor_parallel: int
    scratch: bool
    """Whether weights for engines are written to disk, not to shared memory."""
    staleness: int
    steps: int
    episodes: int
    """Episodes of a step."""
    concurrency: int
    deferred: bool
    turns: Mapping[str, float]
    """Agent of these policies -> mean number of turns in an episode."""
    trained_turns: Mapping[str, float]
    """The same, of the agents that learn."""
    hosted: Mapping[str, float]
    """Hosted agent -> mean number of turns; the same in all jobs of a run."""
    guess: EpisodeGuess
    evaluations: int
    evaluation_episodes: int
    """Episodes of each evaluation."""
    checkpoints_kept: int
    sandbox_bytes: float
    coach: DictConfig
    beside: tuple[Job, ...] = ()
    """The other jobs whose policies live in the same processes."""

    @property
    def learns(self) -> bool:
        """Whether any of the policies does."""
        return self.trained_policies > 0

    @property
    def policies(self) -> int:
        return self.layout.groups * self.layout.policies_per_group

    @property
    def engines_per_process(self) -> int:
        """In a local run without adapters, one process has an engine for each policy."""
        return self.layout.policies_per_group if self.layout.local and not self.adapters else 1

    @property
    def element(self) -> int:
        """Bytes of a weight of the trained model; with adapters, of the base."""
        return BYTES[self.model.dtype]

    @property
    def compute(self) -> int:
        """Bytes of an element in matrix products, and of an engine's weights."""
        return 2 if self.model.autocast else self.element

    @property
    def row(self) -> int:
        """Tokens of the longest possible row."""
        return self.model.max_prompt_tokens + self.model.max_new_tokens

    @property
    def micro_tokens(self) -> int:
        """Tokens of the largest micro-batch: a longer row is a micro-batch by itself."""
        return max(self.model.update_tokens, self.row)

    @property
    def trained(self) -> int:
        """Parameters that one policy trains."""
        return self.adapters.parameters if self.adapters else self.shapes.parameters

    @property
    def trained_element(self) -> int:
        """Bytes of a trained parameter; adapters are float32."""
        return 4 if self.adapters else self.element


def read_jobs(config: RunConfig, assume: Assume) -> list[Job]:
    """Returns what the run that ``config`` describes needs: one job for each model, and for those of its
    policies that do not learn.

    Raises:
        ConfigError: the run uses no GPU, or the size of a part is unknown.
    """
    if "max_turns" not in config.env or config.env.name not in assume.episodes:
        raise ConfigError(
            f"a plan needs env.max_turns and assume.episodes.{config.env.name}: "
            f"+assume.episodes.{config.env.name}={{prompt: 4000, completion: 1000, turns: 1.0, heldout: 10}}"
        )
    team = read_team(config, config.env.name, list(config.env.max_turns))
    together = weights_class(config).shares_base
    same = alike(team.local, lambda policy: (policy.model, together or policy.learns))
    jobs = [_job(config, assume, team, policies) for policies in same]
    if not jobs:
        raise ConfigError("every agent is hosted: nothing to plan")
    if config.runtime.name != "local":
        return jobs
    return [replace(job, beside=tuple(one for one in jobs if one is not job)) for job in jobs]


def _job(config: RunConfig, assume: Assume, team: Team, policies: Sequence[PolicySpec]) -> Job:
    """Returns the job of ``policies`` that live together."""
    model, layout = policies[0].model, _layout(config, len(policies))
    assert model is not None
    kind: ModelKind = conf.build("learners.models", model)
    if model.device == "cpu" or not layout.gpus:
        setting = "model.device=cuda" if model.device == "cpu" else "runtime.learner_gpus=1"
        raise ConfigError(
            "this run trains on the CPU (model.device, runtime.learner_gpus): nothing to plan; a run on GPUs "
            f"needs {setting}, or an experiment such as experiment=dsbench_4b_1xh100"
        )
    guess, shapes = assume.episodes[config.env.name], read_shapes(kind.architecture())
    rollout, evaluation = config.rollout, config.evaluation
    heldout = guess.heldout if evaluation.tasks is None else evaluation.tasks
    turns = {name: max(1.0, guess.turns * allowed) for name, allowed in config.env.max_turns.items()}
    names = [policy.name for policy in policies]
    learning = [policy.name for policy in policies if policy.learns]
    return Job(
        name=f"{policies[0].describe()['model']}{'' if learning else ', not trained'}",
        trained_policies=len(learning),
        shapes=shapes,
        model=kind.config,
        layout=layout,
        adapters=_adapters(config, shapes),
        reference=conf.build("learners", config.algorithm).needs_reference,
        offload=bool(config.weights.get("offload_reference", False)),
        engine_share=config.generator.get("gpu_memory_utilization", 0.0),
        max_sequences=config.generator.get(
            "max_num_seqs", config.generator.get("max_batch", rollout.concurrency)
        ),
        tensor_parallel=config.generator.get("tensor_parallel", 1),
        scratch=config.generator.get("scratch") is not None,
        staleness=rollout.staleness,
        steps=config.steps,
        episodes=rollout.tasks * rollout.episodes,
        concurrency=rollout.concurrency,
        deferred=rollout.deferred,
        turns={agent: turns[agent] for agent, owner in team.owners.items() if owner in names},
        trained_turns={agent: turns[agent] for agent, owner in team.owners.items() if owner in learning},
        hosted={agent: turns[agent] for agent, own in team.owners.items() if not team.policies[own].model},
        guess=guess,
        evaluations=2 + (config.steps - 1) // evaluation.every if evaluation.every else 0,
        evaluation_episodes=heldout * evaluation.episodes,
        checkpoints_kept=config.checkpoint.keep,
        sandbox_bytes=_sandbox_mb(config) * 2.0**20,
        coach=config.coach,
    )


def _layout(config: RunConfig, policies: int) -> Layout:
    shared = weights_class(config).shares_base
    in_place = generator_class(config).lockstep
    if config.runtime.name == "local":
        engines = 0 if in_place else 1
        return Layout(1, policies, 1, engines, 1.0, colocated=True, processes=1, local=True)
    runtime = config.runtime
    groups, policies_per_group = (1, policies) if shared else (policies, 1)
    engines = 0 if in_place else runtime.engines
    colocated = runtime.ranks == engines and runtime.learner_gpus + runtime.engine_gpus <= 1
    gpus = runtime.ranks * runtime.learner_gpus + engines * runtime.engine_gpus
    processes = 2 + runtime.rollout_workers + groups * (runtime.ranks + engines)
    return Layout(
        groups,
        policies_per_group,
        runtime.ranks,
        engines,
        gpus,
        colocated or in_place,
        processes,
        local=False,
    )


def _adapters(config: RunConfig, shapes: Shapes) -> Adapters | None:
    if not weights_class(config).shares_base:
        return None
    return Adapters(shapes.adapter(config.weights.rank, list(config.weights.targets)), config.weights.rank)


def _sandbox_mb(config: RunConfig) -> float:
    """Memory of one sandbox in MiB; ``auto`` leaves it to the backend's own YAML."""
    limit: Any = config.sandbox.get("limits", {}).get("memory_mb")
    return float(conf.load("sandbox", "local").limits.memory_mb if limit is None else limit)

"""What a plan is made from: the hardware, guesses about a run, and what its configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

import conf
from conf import ConfigError
from learners.config import RunConfig
from learners.planning.shapes import Shapes, read_shapes
from learners.runtimes.parts import generator_class, weights_class
from learners.types import ModelConfig

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Hardware:
    """``conf/hardware``: operations and bytes a second are peaks, memory is in GiB."""

    gpu: str
    gpus: int
    memory_gib: float
    host_gib: float
    """For each GPU that is used."""
    bfloat16: float
    float32: float
    bandwidth: float
    link: float


@dataclass
class EpisodeGuess:
    """Of an environment: means of one turn, in tokens."""

    prompt: int
    completion: int
    turns: float
    """Share of the turns allowed that are taken; a role takes one at least."""
    heldout: int
    """Tasks, where an evaluation is on all."""


@dataclass(frozen=True)
class Assume:
    """``conf/assume``, where each is explained."""

    update_mfu: float
    prefill_mfu: float
    decode_share: float
    float32_share: float
    spread: float
    longest_row: float
    sync_bytes: float
    margin: float
    process_gib: float
    context_gib: float
    engine_gib: float
    asleep_gib: float
    tool_s: float
    coach_s: float
    coach_prompt: int
    coach_completion: int
    episodes: dict[str, EpisodeGuess]


@dataclass(frozen=True)
class Layout:
    """Which processes use GPUs: ``groups`` of policies that one base or one trainer serves."""

    groups: int
    held: int
    """Policies in each group."""
    ranks: int
    engines: int
    """Of each group; 0: it samples from the trained weights in place."""
    gpus: float
    """That a group uses."""
    together: bool
    """Whether rank i and engine i use the same GPU."""
    processes: int
    """In all, those without a GPU too."""
    local: bool


@dataclass(frozen=True)
class Adapters:
    """Of ``weights=adapter``."""

    parameters: int
    """Of one policy's adapter."""
    rank: int


@dataclass(frozen=True)
class Job:
    """All that a plan needs to know of a run."""

    shapes: Shapes
    model: ModelConfig
    layout: Layout
    adapters: Adapters | None
    """None: whole weights are trained."""
    reference: bool
    offload: bool
    share: float
    """Of a GPU, for the engines of one process."""
    sequences: int
    """That an engine samples at once."""
    tensor_parallel: int
    staleness: int
    steps: int
    episodes: int
    """Of a step."""
    concurrency: int
    deferred: bool
    turns: Mapping[str, float]
    """Agent -> mean turns of an episode."""
    guess: EpisodeGuess
    evaluations: int
    evaluation_episodes: int
    keep: int
    sandbox_bytes: float
    coach: DictConfig

    @property
    def policies(self) -> int:
        return self.layout.groups * self.layout.held

    @property
    def element(self) -> int:
        """Bytes of a weight as it is trained (of the base, with adapters)."""
        return BYTES[self.model.dtype]

    @property
    def compute(self) -> int:
        """Bytes of what matrices are multiplied in, and of an engine's weights."""
        return 2 if self.model.autocast else self.element

    @property
    def row(self) -> int:
        """Tokens of the longest row."""
        return self.model.max_prompt_tokens + self.model.max_new_tokens

    @property
    def micro_tokens(self) -> int:
        """Tokens of the largest micro-batch: a row that is longer than those stands alone."""
        return max(self.model.update_tokens, self.row)

    @property
    def trained(self) -> int:
        """Parameters that one policy trains."""
        return self.adapters.parameters if self.adapters else self.shapes.parameters

    @property
    def trained_element(self) -> int:
        return 4 if self.adapters else self.element


def read_job(config: RunConfig, assume: Assume) -> Job:
    """What the run that ``config`` describes asks for.

    Raises:
        ConfigError: the run asks for no GPU, or a part of it says nothing of its size.
    """
    kind = conf.build("learners.models", config.model)
    layout = _layout(config)
    if config.model.device == "cpu" or not layout.gpus:
        raise ConfigError("this run trains on the CPU (model.device, runtime.learner_gpus): nothing to plan")
    if not hasattr(kind, "architecture"):
        raise ConfigError(f"model {config.model.name} does not say what it is built of: it cannot be planned")
    if "max_turns" not in config.env or config.env.name not in assume.episodes:
        raise ConfigError(
            f"a plan needs env.max_turns and assume.episodes.{config.env.name}: "
            f"+assume.episodes.{config.env.name}={{prompt: 4000, completion: 1000, turns: 1.0, heldout: 10}}"
        )
    guess, shapes = assume.episodes[config.env.name], read_shapes(kind.architecture())
    rollout, evaluation = config.rollout, config.evaluation
    heldout = guess.heldout if evaluation.tasks is None else evaluation.tasks
    return Job(
        shapes=shapes,
        model=kind.config,
        layout=layout,
        adapters=_adapters(config, shapes),
        reference=conf.build("learners", config.algorithm).needs_reference,
        offload=bool(config.weights.get("offload_reference", False)),
        share=config.generator.get("gpu_memory_utilization", 0.0),
        sequences=config.generator.get(
            "max_num_seqs", config.generator.get("max_batch", rollout.concurrency)
        ),
        tensor_parallel=config.generator.get("tensor_parallel", 1),
        staleness=rollout.staleness,
        steps=config.steps,
        episodes=rollout.tasks * rollout.episodes,
        concurrency=rollout.concurrency,
        deferred=rollout.deferred,
        turns={name: max(1.0, guess.turns * most) for name, most in config.env.max_turns.items()},
        guess=guess,
        evaluations=2 + (config.steps - 1) // evaluation.every if evaluation.every else 0,
        evaluation_episodes=heldout * evaluation.episodes,
        keep=config.checkpoint.keep,
        sandbox_bytes=_sandbox_mb(config) * 2.0**20,
        coach=config.coach,
    )


def _layout(config: RunConfig) -> Layout:
    policies = 1 if config.policies == "shared" else len(config.env.get("max_turns", [1]))
    shared = weights_class(config).shares_base
    in_place = generator_class(config).lockstep
    if config.runtime.name == "local":
        engines = 0 if in_place else 1
        return Layout(1, policies, 1, engines, 1.0, True, 1, True)
    runtime = config.runtime
    groups, held = (1, policies) if shared else (policies, 1)
    engines = 0 if in_place else runtime.engines
    together = runtime.ranks == engines and runtime.learner_gpus + runtime.engine_gpus <= 1
    gpus = runtime.ranks * runtime.learner_gpus + engines * runtime.engine_gpus
    processes = 2 + runtime.rollout_workers + groups * (runtime.ranks + engines)
    return Layout(groups, held, runtime.ranks, engines, gpus, together or in_place, processes, False)


def _adapters(config: RunConfig, shapes: Shapes) -> Adapters | None:
    if not weights_class(config).shares_base:
        return None
    return Adapters(shapes.adapter(config.weights.rank, list(config.weights.targets)), config.weights.rank)


def _sandbox_mb(config: RunConfig) -> float:
    """Memory of one sandbox; ``auto`` leaves it to the backend's own YAML."""
    limit: Any = config.sandbox.get("limits", {}).get("memory_mb")
    return float(conf.load("sandbox", "local").limits.memory_mb if limit is None else limit)

"""The processes that train a group of policies, and how others reach them."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist

import conf
from learners.base import Algorithm, BatchGenerator, Weights
from learners.config import RunConfig
from learners.runtimes.capabilities import generator_class
from learners.runtimes.distributed.base import Handle, Pending
from learners.runtimes.parts import build_algorithm, build_learner, load_weights
from learners.runtimes.team import team_of
from learners.types import Completion, GenerationRequest, Metrics, ModelConfig, Transition
from learners.update.fsdp import Ranks
from learners.update.learner import LocalLearner

Files = dict[str, bytes]
"""The files of a folder, by name."""


class Rank:
    """One of the processes that train the policies ``names``: has their weights, or its share of them."""

    def __init__(self, config: RunConfig, names: Sequence[str], index: int, size: int) -> None:
        """``index``: number of this process among the ``size`` that share each update."""
        self._config = config
        self._names = names
        self._ranks = Ranks(index, size)
        self._weights: Mapping[str, Weights] = {}
        self._learners: dict[str, LocalLearner] = {}
        self._generator: BatchGenerator | None = None

    def load(self, rendezvous: str) -> dict[str, tuple[bool, ModelConfig]]:
        """Joins the other ranks at ``host:port`` and loads all weights.

        Returns:
            For each policy, whether its weights are an adapter, and the model's settings.
        """
        config = self._config
        if config.runtime.torch_threads is not None:
            torch.set_num_threads(config.runtime.torch_threads)
        if self._ranks.size > 1:
            self._join(rendezvous)
        scenario = conf.build("envs", config.env)
        reference = build_algorithm(config).needs_reference
        policies = [team_of(config, scenario).policies[name] for name in self._names]
        self._weights = load_weights(config, scenario, policies, reference=reference)
        self._learners = {
            one.name: build_learner(config, self._weights[one.name], self._ranks)
            for one in policies
            if one.learns
        }
        if generator_class(config).lockstep:
            self._generator = conf.build("learners.generators", config.generator, policies=self._weights)
        return {name: (own.adapter, own.loaded.config) for name, own in self._weights.items()}

    def version(self, name: str) -> int:
        """See ``Learner.version``; ``name``: of the policy, here and below."""
        return self._learners[name].version()

    def update(
        self,
        name: str,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """See ``Learner.update``. All ranks must be called, with the same arguments."""
        return self._learners[name].update(transitions, advantages, algorithm)

    def reference_logprobs(self, name: str, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """See ``Learner.reference_logprobs``. Each rank may be called by itself."""
        return self._learners[name].reference_logprobs(completions)

    def save(self, name: str, path: Path) -> None:
        """See ``Learner.save``. All ranks must be called; the first one writes."""
        self._learners[name].save(path)

    def restore(self, name: str, path: Path) -> None:
        """See ``Learner.restore``. All ranks must be called."""
        self._learners[name].restore(path)

    def batch(self, name: str, requests: Sequence[GenerationRequest]) -> list[Completion]:
        """See ``BatchGenerator``: such a generator lives with the weights."""
        return self._in_place().batch(name, requests)

    def sync(self, name: str, version: int) -> None:
        """See ``Generator.sync``, of the same generator."""
        self._in_place().sync(name, version)

    def files(self, name: str) -> Files | None:
        """Returns what ``Source.save`` writes. All ranks must be called; only the first one returns files."""
        return self._written(self._weights[name].save)

    def base_files(self, name: str) -> Files | None:
        """Returns what ``Source.save_base`` writes; as ``files``."""
        return self._written(self._weights[name].save_base)

    def logprobs(self, name: str, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """See ``Source.logprobs``. All ranks must be called."""
        return self._weights[name].logprobs(completions)

    def _in_place(self) -> BatchGenerator:
        assert self._generator is not None
        return self._generator

    def _join(self, rendezvous: str) -> None:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend,
            init_method=f"tcp://{rendezvous}",
            rank=self._ranks.index,
            world_size=self._ranks.size,
            timeout=datetime.timedelta(seconds=self._config.runtime.call_timeout),
        )

    def _written(self, save: Callable[[Path], None]) -> Files | None:
        with TemporaryDirectory() as folder:
            save(Path(folder))
            if self._ranks.index:
                return None
            return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


class RankGroup:
    """The processes that train a group of policies, in the order of their rank.

    All of them must get calls in the same order, because in the middle of a call each waits for the others.
    Concurrent calls, as of policies that share a base, are therefore started one after the other.
    """

    def __init__(self, handles: Sequence[Handle], gather: Callable[[Sequence[Pending]], list[Any]]) -> None:
        """``gather``: see ``Cluster.gather``."""
        self.handles = handles
        self.gather = gather
        self._starting = threading.Lock()

    def __reduce__(self) -> tuple[type[RankGroup], tuple[Any, ...]]:
        """Engines get a copy with a lock of its own: the driver's loop never lets engines and policies call
        at the same time."""
        return RankGroup, (self.handles, self.gather)

    def call(self, method: str, *args: Any) -> Any:
        """Calls a method of every rank at once; returns the first rank's answer."""
        with self._starting:
            pending = [rank.start(method, *args) for rank in self.handles]
        return self.gather(pending)[0]


class RemoteLearner:
    """A ``learners.base.Learner`` of the policy ``name``, trained by ``group``."""

    def __init__(self, name: str, group: RankGroup) -> None:
        self._name = name
        self._group = group

    def version(self) -> int:
        return int(self._group.handles[0].call("version", self._name))

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        metrics: Metrics = self._group.call("update", self._name, transitions, advantages, algorithm)
        return metrics

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Every rank has the whole reference and computes its share of the completions."""
        size = len(self._group.handles)
        pending = [
            rank.start("reference_logprobs", self._name, completions[i::size])
            for i, rank in enumerate(self._group.handles)
        ]
        logprobs: list[tuple[float, ...]] = [()] * len(completions)
        for i, share in enumerate(self._group.gather(pending)):
            logprobs[i::size] = share
        return logprobs

    def save(self, path: Path) -> None:
        self._group.call("save", self._name, path)

    def restore(self, path: Path) -> None:
        self._group.call("restore", self._name, path)


class RemoteSource:
    """A ``learners.base.Source`` whose weights are trained by ``group``."""

    def __init__(self, name: str, adapter: bool, config: ModelConfig, group: RankGroup) -> None:
        self.name = name
        self.adapter = adapter
        self.config = config
        self._group = group

    def save(self, folder: Path) -> None:
        self._write("files", folder)

    def save_base(self, folder: Path) -> None:
        self._write("base_files", folder)

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        logprobs: list[tuple[float, ...]] = self._group.call("logprobs", self.name, completions)
        return logprobs

    def _write(self, method: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self._group.call(method, self.name).items():
            (folder / name).write_bytes(data)

"""The processes that train a group of policies, and how others reach them."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist

import conf
from learners.base import Algorithm, BatchGenerator, Metrics
from learners.config import RunConfig
from learners.models.base import ModelConfig
from learners.run.build import build_algorithm, build_learner, load_weights
from learners.runtimes.distributed.base import Handle, Pending
from learners.types import Completion, Request, Transition
from learners.update.fsdp import Ranks
from learners.update.learner import LocalLearner
from learners.weights.base import Weights

Files = dict[str, bytes]
"""A folder's files by name."""


class Rank:
    """One of the processes that train the policies ``names``: holds their weights, or its share of them."""

    def __init__(self, config: RunConfig, names: Sequence[str], index: int, size: int) -> None:
        self._config = config
        self._names = names
        self._ranks = Ranks(index, size)
        self._weights: dict[str, Weights] = {}
        self._learners: dict[str, LocalLearner] = {}
        self._generator: BatchGenerator | None = None

    def load(self, meeting_point: str) -> dict[str, tuple[bool, ModelConfig]]:
        """Joins the others at ``host:port`` and loads all weights.

        Returns:
            For each policy, whether it is an adapter, and the model's settings.
        """
        config = self._config
        if config.runtime.torch_threads is not None:
            torch.set_num_threads(config.runtime.torch_threads)
        if self._ranks.size > 1:
            self._join(meeting_point)
        scenario = conf.build("envs", config.env)
        reference = build_algorithm(config).needs_reference
        self._weights = load_weights(config, scenario, reference=reference, names=self._names)
        self._learners = {
            name: build_learner(config, own, self._ranks) for name, own in self._weights.items()
        }
        if conf.plugin_class("learners.generators", config.generator.name).lockstep:
            self._generator = conf.build("learners.generators", config.generator, policies=self._weights)
        return {name: (own.adapter, own.loaded.config) for name, own in self._weights.items()}

    def version(self, name: str) -> int:
        return self._learners[name].version()

    def update(
        self,
        name: str,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        return self._learners[name].update(transitions, advantages, algorithm)

    def reference_logprobs(self, name: str, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        return self._learners[name].reference_logprobs(completions)

    def save(self, name: str, path: Path) -> None:
        self._learners[name].save(path)

    def restore(self, name: str, path: Path) -> None:
        self._learners[name].restore(path)

    def batch(self, name: str, requests: Sequence[Request]) -> list[Completion]:
        """See ``BatchGenerator``: such a one lives with the weights."""
        assert self._generator is not None
        return self._generator.batch(name, requests)

    def sync(self, name: str, version: int) -> None:
        """See ``Generator.sync``; as ``batch``."""
        assert self._generator is not None
        self._generator.sync(name, version)

    def files(self, name: str) -> Files | None:
        """What ``Weights.save`` writes. All ranks must be asked; the first one answers."""
        return self._written(self._weights[name].save)

    def base_files(self, name: str) -> Files | None:
        """What ``Weights.save_base`` writes; as ``files``."""
        return self._written(self._weights[name].save_base)

    def logprobs(self, name: str, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """See ``Source.logprobs``. All ranks must be asked."""
        return self._weights[name].logprobs(completions)

    def _join(self, meeting_point: str) -> None:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend,
            init_method=f"tcp://{meeting_point}",
            rank=self._ranks.index,
            world_size=self._ranks.size,
            timeout=datetime.timedelta(seconds=self._config.runtime.deadline),
        )

    def _written(self, save: Callable[[Path], None]) -> Files | None:
        with TemporaryDirectory() as folder:
            save(Path(folder))
            if self._ranks.index:
                return None
            return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


class Ranked:
    """The processes that train a group of policies, in order.

    All of them must get calls in one order: each waits for the others in the middle of what it is asked. Of
    threads that ask at once, as policies that share a base do, one is therefore let through after the other.
    """

    def __init__(self, handles: Sequence[Handle], gather: Callable[[Sequence[Pending]], list[Any]]) -> None:
        """``gather``: see ``Cluster.gather``."""
        self.handles = handles
        self.gather = gather
        self._asking = threading.Lock()

    def __reduce__(self) -> tuple[type[Ranked], tuple[Any, ...]]:
        """Engines take it along; the trainer's loop never has them and policies ask at once."""
        return Ranked, (self.handles, self.gather)

    def all(self, method: str, *args: Any) -> Any:
        """Calls a method of every rank at once; the first one's answer."""
        with self._asking:
            pending = [rank.start(method, *args) for rank in self.handles]
        return self.gather(pending)[0]


class RemoteLearner:
    """A ``learners.base.Learner`` of the policy ``name``, trained by ``ranks``."""

    def __init__(self, name: str, ranks: Ranked) -> None:
        self._name = name
        self._ranks = ranks

    def version(self) -> int:
        return int(self._ranks.handles[0].call("version", self._name))

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        found: Metrics = self._ranks.all("update", self._name, transitions, advantages, algorithm)
        return found

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Every rank has the whole reference, and computes its share."""
        size = len(self._ranks.handles)
        found: list[tuple[float, ...]] = [()] * len(completions)
        pending = [
            rank.start("reference_logprobs", self._name, completions[i::size])
            for i, rank in enumerate(self._ranks.handles)
        ]
        for i, share in enumerate(self._ranks.gather(pending)):
            found[i::size] = share
        return found

    def save(self, path: Path) -> None:
        self._ranks.all("save", self._name, path)

    def restore(self, path: Path) -> None:
        self._ranks.all("restore", self._name, path)


class RemoteSource:
    """A ``learners.weights.base.Source`` whose weights are trained by ``ranks``."""

    def __init__(self, name: str, adapter: bool, config: ModelConfig, ranks: Ranked) -> None:
        self.name = name
        self.adapter = adapter
        self.config = config
        self._ranks = ranks

    def save(self, folder: Path) -> None:
        self._write("files", folder)

    def save_base(self, folder: Path) -> None:
        self._write("base_files", folder)

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = self._ranks.all("logprobs", self.name, completions)
        return found

    def _write(self, method: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self._ranks.all(method, self.name).items():
            (folder / name).write_bytes(data)

"""The processes that train a group of policies, and how others reach them."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
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
from learners.types import (
    Completion,
    GenerationRequest,
    Lent,
    Metrics,
    ModelConfig,
    Place,
    Shared,
    TokenTerms,
    TokenTexts,
    Transition,
)
from learners.update.fsdp import Ranks
from learners.update.learner import LocalLearner
from learners.update.packing import Floats, Row
from learners.update.shares import Position, Share, completion_counts, divide, row_counts
from learners.weights.lending import write
from learners.weights.scratch import Scratch, check_room, key_of
from learners.weights.sharing import merge

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
        self._lent: dict[tuple[str, bool], Lent | None] = {}
        self._scratch: Scratch | None = None
        self._shared: dict[str, Iterator[Shared]] = {}

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

    def position(self, name: str) -> Position:
        """See ``LocalLearner.position``; ``name``: of the policy, here and below."""
        return self._learners[name].position()

    def train(
        self, name: str, share: Share, algorithm: Algorithm, tell: bool
    ) -> tuple[Metrics, dict[int, TokenTerms]]:
        """See ``LocalLearner.train``. All ranks must be called, each with its own share.

        Returns:
            The metrics, and, if ``tell``, the terms of the tokens of this rank's rows.
        """
        terms: dict[int, TokenTerms] = {}
        return self._learners[name].train(share, algorithm, terms if tell else None), terms

    def spell(self, name: str, rows: Sequence[Sequence[int]]) -> list[TokenTexts]:
        """See ``LocalLearner.spell``. Any one rank may be called."""
        return self._learners[name].spell(rows)

    def score_reference(self, name: str, rows: Sequence[Row]) -> list[Floats]:
        """See ``LocalLearner.score_reference``. Each rank may be called by itself."""
        return self._learners[name].score_reference(rows)

    def save(self, name: str, path: Path) -> None:
        """See ``Learner.save``. All ranks must be called; the first one writes."""
        self._learners[name].save(path)

    def restore(self, name: str, path: Path) -> None:
        """See ``Learner.restore``. All ranks must be called."""
        self._learners[name].restore(path)

    def batch(self, name: str, requests: Sequence[GenerationRequest]) -> list[Completion]:
        """See ``BatchGenerator``: such a generator lives with the weights."""
        return self._in_place().batch(name, requests)

    def sync(self, name: str, version: int) -> Mapping[str, int]:
        """See ``Generator.sync``, of the same generator."""
        return self._in_place().sync(name, version)

    def lend(self, name: str, root: Path | None, base: bool) -> Lent | None:
        """Writes what ``Source.lend`` lends, unless it is there. All ranks must be called; the first one
        writes, and only its answer counts."""
        known = (name, base) in self._lent
        if not known:
            weights = self._weights[name]
            if self._ranks.index:
                weights.save_for_engines(None, base=base)
                self._lent[name, base] = None
            else:
                self._scratch = self._scratch or Scratch(root)
                self._lent[name, base] = write(weights, self._scratch, base=base)
        found = self._lent[name, base]
        return replace(found, written=0) if found and known else found

    def lent_files(self, name: str, base: bool) -> Files:
        """Returns the contents of the files that are lent, for engines on other machines."""
        lent = self._lent[name, base]
        assert lent is not None
        return {path.name: path.read_bytes() for path in lent.folder.iterdir()}

    def places(self, name: str) -> Sequence[Place]:
        """See ``Source.places``: this process."""
        return self._weights[name].places()

    def share(self, name: str, start: bool) -> Shared | None:
        """Returns the next part of ``Source.share``, or with ``start`` the first; None after the last.

        All ranks must be called: each has the part on its own GPU.
        """
        if start:
            self._shared[name] = self._weights[name].share()
        return next(self._shared[name], None)

    def release(self) -> None:
        """Removes all that is lent or shared. All ranks must be called."""
        self._lent.clear()
        self._shared.clear()
        if self._scratch is not None:
            self._scratch.close()

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
        return self.call_each(method, [args] * len(self.handles))[0]

    def call_each(self, method: str, args: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Calls a method of every rank at once, each with arguments of its own; returns all answers."""
        with self._starting:
            pending = [rank.start(method, *own) for rank, own in zip(self.handles, args, strict=True)]
        return self.gather(pending)


class RemoteLearner:
    """A ``learners.base.Learner`` of the policy ``name``, trained by ``group``.

    It divides each update itself, so that every rank is sent the arrays of its own rows and nothing else.
    """

    def __init__(self, name: str, group: RankGroup) -> None:
        self._name = name
        self._group = group
        self._sent = 0

    def version(self) -> int:
        return self._position().version

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
        terms: dict[int, TokenTerms] | None = None,
    ) -> Metrics:
        position = self._position()
        shares = divide(transitions, advantages, algorithm, position, len(self._group.handles))
        self._sent += sum(share.nbytes for share in shares)
        args = [(self._name, share, algorithm, terms is not None) for share in shares]
        answers: list[tuple[Metrics, dict[int, TokenTerms]]] = self._group.call_each("train", args)
        if terms is not None:  # every row of the first epoch is in one rank's
            terms |= {number: row for _, own in answers for number, row in own.items()}
        return row_counts(advantages) | answers[0][0] | completion_counts(transitions, position)

    def texts(self, completions: Sequence[Completion]) -> list[TokenTexts]:
        """The first rank has the tokenizer, as all have."""
        rows = [completion.token_ids for completion in completions]
        texts: list[TokenTexts] = self._group.handles[0].call("spell", self._name, rows)
        return texts

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Every rank has the whole reference and computes its share of the completions."""
        rows = [Row.of(completion, (), 0.0) for completion in completions]
        size = len(self._group.handles)
        self._sent += sum(row.nbytes for row in rows)
        shares = self._group.gather(
            [
                rank.start("score_reference", self._name, rows[i::size])
                for i, rank in enumerate(self._group.handles)
            ]
        )
        logprobs: list[tuple[float, ...]] = [()] * len(rows)
        for i, share in enumerate(shares):
            logprobs[i::size] = [tuple(values.tolist()) for values in share]
        return logprobs

    def sent(self) -> int:
        """See ``Learner.sent``."""
        sent, self._sent = self._sent, 0
        return sent

    def _position(self) -> Position:
        position: Position = self._group.handles[0].call("position", self._name)
        return position

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
        self._copies: list[Scratch] = []

    @contextmanager
    def lend(self, root: Path | None, *, base: bool = False) -> Iterator[Lent]:
        """What the first rank has written, or, where its folder cannot be seen, a copy: one for all engines
        that see the same folders."""
        lent: Lent = self._group.call("lend", self.name, root, base)
        found = Scratch(root).find(key_of(lent.folder))
        yield replace(lent, folder=found) if found else self._fetched(lent, root, base)

    def places(self) -> Sequence[Place]:
        return [place for own in self._each("places", self.name) for place in own]

    def share(self) -> Iterator[Shared]:
        start = True
        while (part := merge(self._each("share", self.name, start))) is not None:
            yield part
            start = False

    def release(self) -> None:
        """Removes the copies that were made here."""
        while self._copies:
            self._copies.pop().close()

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        logprobs: list[tuple[float, ...]] = self._group.call("logprobs", self.name, completions)
        return logprobs

    def _each(self, method: str, *args: Any) -> list[Any]:
        return self._group.call_each(method, [args] * len(self._group.handles))

    def _fetched(self, lent: Lent, root: Path | None, base: bool) -> Lent:
        """Returns a copy of the first rank's folder in ``root``."""
        scratch = Scratch(root)
        self._copies.append(scratch)
        folder = scratch.new(key_of(lent.folder))
        check_room(folder, lent.size, f"the weights of {self.name}")
        files: Files = self._group.handles[0].call("lent_files", self.name, base)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return replace(lent, folder=folder, written=lent.written + lent.size)

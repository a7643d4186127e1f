"""Rows -> new weights: forward, loss, backward, AdamW."""

from __future__ import annotations

import copy
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from learners.algorithms import losses
from learners.base import Algorithm, Metrics, TrainingError
from learners.models.base import LoadedModel, Optimizer
from learners.types import Batch, Completion, Transition
from learners.update.fsdp import Ranks, idle_batch, like, whole
from learners.update.packing import Row, pack, padding_share, shard, shares, to_rows
from learners.weights.base import Weights

ALONE = Ranks()


class NonFiniteError(TrainingError):
    """A loss or gradient is NaN or infinite; the weights are still those of before the step."""


class _Used(NamedTuple):
    """A row as it is trained on."""

    transition: Transition
    advantages: list[float]
    proximal: tuple[float, ...] | None
    """See ``Batch.prox_logprobs``."""


class Updater:
    """One agent's optimiser.

    An optimiser step is the plain sum of its micro-batches' losses, whose token weights were normalised over
    the whole step; so how rows are packed, and among how many workers, does not change it.

    Args:
        weights: what is trained, in place.
        steps: how often ``update`` will be called in the whole run; the cosine schedule ends there.
        seed: of the split into minibatches.
        ranks: the processes that share each step; all call every method with the same arguments.
    """

    def __init__(self, weights: Weights, *, steps: int, seed: int, ranks: Ranks = ALONE) -> None:
        self.weights = weights
        self.ranks = ranks
        self._spread = ranks.size > 1 and weights.spread()
        self.loaded = weights.loaded
        self.config: Optimizer = weights.loaded.config.optimizer
        self.done = 0
        self._total = steps * self.config.epochs * self.config.minibatches
        self._seed = seed
        self._parameters = weights.parameters()
        beta1, beta2 = self.config.betas
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=self.config.lr,
            betas=(beta1, beta2),
            weight_decay=self.config.weight_decay,
            fused=True,  # one pass, and no copies of the largest weight, which would set the peak
        )

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """Trains on the transitions that have advantages.

        Returns:
            ``rows`` and ``tokens`` trained on, ``rows_out`` (without advantages), and, when any were,
            ``loss``, ``entropy``, ``grad_norm`` (before clipping), ``lr``, ``padding`` (share of positions),
            ``mismatch_kl`` and ``mismatch_k1`` (``learners.algorithms.losses.mismatch``) and the algorithm's own,
            each the mean over optimiser steps.

        Raises:
            NonFiniteError: a loss or gradient was not finite.
        """
        used = [(t, a) for t, a in zip(transitions, advantages, strict=True) if a is not None]
        counts = {
            "rows": float(len(used)),
            "rows_out": float(len(transitions) - len(used)),
            "tokens": float(sum(len(a) for _, a in used)),
        }
        sums: Counter[str] = Counter()
        before = self.done
        proximal: Sequence[tuple[float, ...] | None] = [None] * len(used)
        if self.config.epochs * min(self.config.minibatches, len(used)) > 1:
            proximal = self._proximal([t.completion for t, _ in used])
        rows = [_Used(t, a, prox) for (t, a), prox in zip(used, proximal, strict=True)]
        for _ in range(self.config.epochs):
            for part in self._minibatches(len(rows)):
                sums.update(self._step([rows[i] for i in part], algorithm))
        return counts | {name: value / (self.done - before) for name, value in sums.items()}

    def state(self) -> Mapping[str, Any]:
        """Optimiser state and the count of steps done; live tensors."""
        return {"optimizer": whole(self._optimizer.state_dict()), "done": self.done}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes everything as it was when ``state`` was taken."""
        saved = copy.deepcopy(state["optimizer"])
        for place, moments in saved["state"].items():
            parameter = self._parameters[place]
            saved["state"][place] = {key: like(value, parameter) for key, value in moments.items()}
        self._optimizer.load_state_dict(saved)
        self.done = state["done"]

    def _minibatches(self, count: int) -> list[list[int]]:
        """A split of ``range(count)`` into at most ``minibatches`` parts; random, but for one part."""
        order = list(range(count))
        parts = min(self.config.minibatches, count)
        if parts > 1:
            random.Random(f"{self._seed} {self.done}").shuffle(order)
        return [order[i::parts] for i in range(parts)]

    def _proximal(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """The sampled tokens' log-probabilities under the weights as they are, one tuple a completion. The
        processes share the work, and each gets all of it."""
        rows = [Row(completion, [0.0] * len(completion.token_ids), 0.0) for completion in completions]
        own = shares(rows, self.ranks.size)[self.ranks.index]
        batches = pack([rows[i] for i in own], self.loaded.config.update_tokens)
        with self.weights.active(), torch.no_grad():
            level = self._level(batches, reference=False)
            scored = [self.weights.score(_to(batch, self.loaded.device))[0].tolist() for batch in level]
        found: dict[int, list[float]] = {}
        for batch, values in zip(batches, scored, strict=False):  # idle batches stand behind
            for number, value in zip(batch.row.tolist(), values, strict=True):
                found.setdefault(own[number], []).append(value)
        everyones = {i: tuple(row) for part in self.ranks.gathered(found) for i, row in part.items()}
        return [everyones[i] for i in range(len(completions))]

    def _step(self, used: Sequence[_Used], algorithm: Algorithm) -> Metrics:
        """One optimiser step on all the rows given."""
        transitions, advantages, proximal = zip(*used, strict=True)
        rows = to_rows(transitions, advantages, algorithm.weights(transitions), proximal)
        own = shard(rows, self.ranks.size)[self.ranks.index]
        batches = pack(own, self.loaded.config.update_tokens)
        rate = learning_rate(self.config, self.done, self._total)
        sums: Counter[str] = Counter()
        with self.weights.active(), _training(self.loaded):
            self._optimizer.zero_grad(set_to_none=True)
            for batch in self._level(batches, reference=algorithm.needs_reference):
                sums.update(self._accumulate(batch, algorithm))
            found = self.ranks.totals(sums)  # before any check: what one process raises, all must
            if not self._spread:
                self.ranks.sum_gradients(self._parameters)
            norm = self._clip()
            if not math.isfinite(found["loss"]):
                raise NonFiniteError(f"the loss of optimiser step {self.done} is {found['loss']}")
            if not math.isfinite(norm):
                raise NonFiniteError(f"the gradient of optimiser step {self.done} has norm {norm}")
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        self.done += 1
        padding = self.ranks.totals({"padding": padding_share(batches) / self.ranks.size})
        return found | padding | {"grad_norm": norm, "lr": rate}

    def _level(self, batches: list[Batch], *, reference: bool) -> list[Batch]:
        """With idle ones behind them, as many as the process with the most has: all must compute in step."""
        idle = self.ranks.most(len(batches)) - len(batches)
        return batches + idle * [idle_batch(reference=reference)]

    def _clip(self) -> float:
        """The norm of the whole gradient, before it is clipped."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        return float(whole(norm))

    def _accumulate(self, batch: Batch, algorithm: Algorithm) -> Metrics:
        """Adds one micro-batch's gradient; its metrics, weighted so that micro-batches add up."""
        batch = _to(batch, self.loaded.device)
        logprobs, entropy = self.weights.score(batch)
        loss, metrics = algorithm.loss(logprobs, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        own = {"loss": loss, "entropy": (batch.weights * entropy).sum()}
        return metrics | losses.floats(own | losses.mismatch(logprobs, batch))


def learning_rate(config: Optimizer, done: int, total: int) -> float:
    """The rate of optimiser step number ``done`` (from 0) of ``total``."""
    if done < config.warmup_steps:
        return config.lr * (done + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (done - config.warmup_steps) / max(1, total - config.warmup_steps))
    return config.lr * (0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * progress)))


@contextmanager
def _training(loaded: LoadedModel) -> Iterator[None]:
    """Gradient checkpointing for the length of a block, where it is asked for.

    ``transformers`` does it in train mode alone. Otherwise the model stays in eval mode; either way without
    dropout (``models.base.finish``), which would make the trained policy another than the one that acted.
    """
    if not loaded.config.gradient_checkpointing:
        yield
        return
    loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
    loaded.model.train()
    try:
        yield
    finally:
        loaded.model.gradient_checkpointing_disable()  # type: ignore[no-untyped-call]
        loaded.model.eval()  # type: ignore[no-untyped-call]


def _to(batch: Batch, device: torch.device) -> Batch:
    moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(batch).items()}
    return Batch(**moved)

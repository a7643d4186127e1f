"""Rows -> new weights: forward, loss, backward, AdamW.

What one ``Updater.update`` does, with ``epochs=1``, ``minibatches=2`` and two ranks:

1. Drop the transitions without advantages (``rows_skipped``).
2. Compute the *proximal* log-probabilities of all sampled tokens: those under the weights before the first
   optimiser step. (With a single optimiser step this is skipped: its own forward pass gives them.)
3. Split the rows at random into two minibatches. Each is one optimiser step:

   a. The algorithm gives every row its weight per token, normalised over the step.
   b. The rows are split between the ranks by tokens, and each rank packs its own into micro-batches.
   c. For every micro-batch: forward, loss, backward. Gradients add up; no scaling by the number of
      micro-batches. A rank with fewer of them computes idle ones, because FSDP ranks must run in step.
   d. Sum metrics, and gradients that are not sharded, over ranks. Clip. Refuse a loss or gradient that is not
      finite.
   e. AdamW step, with the learning rate of this step.

4. Return the mean of each metric over optimiser steps.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from learners.algorithms import contract, losses
from learners.base import Algorithm, Weights
from learners.errors import NonFiniteError
from learners.types import Batch, Completion, LoadedModel, Metrics, Optimizer, Transition
from learners.update.fsdp import Ranks, full_state, idle_batch
from learners.update.packing import Row, pack, split_indices, split_rows, to_rows
from learners.update.state_file import copy_into

ALONE = Ranks()


class _TrainedRow(NamedTuple):
    """A transition that is trained on."""

    transition: Transition
    advantages: list[float]
    proximal: tuple[float, ...] | None
    """See ``Batch.prox_logprobs``."""


class Updater:
    """One policy's optimiser.

    The loss of an optimiser step is the plain sum of the losses of its micro-batches, whose token weights are
    normalised over the whole step. So neither packing nor the number of ranks changes the result.

    Args:
        weights: trained in place.
        steps: how often ``update`` will be called in the whole run; the cosine schedule ends there.
        seed: of the split into minibatches.
        ranks: the processes that share each step; all call every method with the same arguments.
    """

    def __init__(self, weights: Weights, *, steps: int, seed: int, ranks: Ranks = ALONE) -> None:
        self.weights = weights
        self.ranks = ranks
        self._sharded = ranks.size > 1 and weights.shard()
        self.loaded = weights.loaded
        self.config: Optimizer = weights.loaded.config.optimizer
        self.steps_done = 0
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
            ``rows`` and ``tokens`` trained on, ``rows_skipped`` (without advantages), ``rows_no_signal``
            (whose advantages are all 0: nothing but a KL term in the loss acts on them), and, if there are
            any rows, ``loss``, ``entropy``, ``grad_norm`` (before clipping), ``lr``, ``mismatch_kl`` and
            ``mismatch_k1`` (``learners.algorithms.losses.mismatch``) and the algorithm's own, each the mean
            over optimiser steps.

        Raises:
            NonFiniteError: a loss or gradient is not finite.
        """
        kept = [(t, a) for t, a in zip(transitions, advantages, strict=True) if a is not None]
        counts = {
            "rows": float(len(kept)),
            "rows_skipped": float(len(transitions) - len(kept)),
            "rows_no_signal": float(sum(not any(a) for _, a in kept)),
            "tokens": float(sum(len(a) for _, a in kept)),
        }
        sums: Counter[str] = Counter()
        before = self.steps_done
        proximal: Sequence[tuple[float, ...] | None] = [None] * len(kept)
        if self.config.epochs * min(self.config.minibatches, len(kept)) > 1:
            proximal = self._proximal_logprobs([t.completion for t, _ in kept])
        rows = [_TrainedRow(t, a, prox) for (t, a), prox in zip(kept, proximal, strict=True)]
        for _ in range(self.config.epochs):
            for part in self._minibatches(len(rows)):
                sums.update(self._step([rows[i] for i in part], algorithm))
        return counts | {name: value / (self.steps_done - before) for name, value in sums.items()}

    def state(self) -> Mapping[str, Any]:
        """Returns the optimiser's state and the number of steps done; live tensors."""
        return {"optimizer": full_state(self._optimizer.state_dict()), "done": self.steps_done}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores everything to what it was when ``state`` was taken.

        The optimiser's moments, twice the size of the weights, are left out if there is nothing to train.
        """
        self.steps_done = state["done"]
        if not self._total:
            return
        saved = state["optimizer"]
        moments = {
            index: {key: _copy_for(value, self._parameters[index]) for key, value in values.items()}
            for index, values in saved["state"].items()
        }
        self._optimizer.load_state_dict({"state": moments, "param_groups": saved["param_groups"]})

    def _minibatches(self, count: int) -> list[list[int]]:
        """Splits ``range(count)`` into at most ``minibatches`` parts; at random if there is more than one."""
        order = list(range(count))
        parts = min(self.config.minibatches, count)
        if parts > 1:
            random.Random(f"{self._seed} {self.steps_done}").shuffle(order)
        return [order[i::parts] for i in range(parts)]

    def _proximal_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """The log-probabilities of the sampled tokens under the current weights, one tuple per completion.

        The ranks share the work, and each gets the whole result.
        """
        rows = [Row(completion, [0.0] * len(completion.token_ids), 0.0) for completion in completions]
        own = split_indices(rows, self.ranks.size)[self.ranks.index]
        batches = pack([rows[i] for i in own], self.loaded.config.update_tokens)
        with self.weights.active(), torch.no_grad():
            padded = self._with_idle(batches, reference=False)
            scored = [self.weights.score(_to(batch, self.loaded.device))[0].tolist() for batch in padded]
        # Sort the tokens of packed batches back into their rows.
        own_logprobs: dict[int, list[float]] = {}
        for batch, values in zip(batches, scored, strict=False):  # idle batches come last: ignored
            for number, value in zip(batch.row.tolist(), values, strict=True):
                own_logprobs.setdefault(own[number], []).append(value)
        logprobs = {i: tuple(row) for part in self.ranks.all_gather(own_logprobs) for i, row in part.items()}
        return [logprobs[i] for i in range(len(completions))]

    def _step(self, used: Sequence[_TrainedRow], algorithm: Algorithm) -> Metrics:
        """One optimiser step on all the given rows: steps 3a to 3e of the module's docstring."""
        transitions, advantages, proximal = zip(*used, strict=True)
        rows = to_rows(transitions, advantages, contract.token_weights(algorithm, transitions), proximal)
        own = split_rows(rows, self.ranks.size)[self.ranks.index]
        batches = pack(own, self.loaded.config.update_tokens)
        rate = learning_rate(self.config, self.steps_done, self._total)
        sums: Counter[str] = Counter()
        with self.weights.active(), _training(self.loaded):
            self._optimizer.zero_grad(set_to_none=True)
            for batch in self._with_idle(batches, reference=algorithm.needs_reference):
                sums.update(self._accumulate(batch, algorithm))
            metrics = self.ranks.all_sum(sums)  # before any check: if one rank raises, all must
            if not self._sharded:  # FSDP has summed the gradients of sharded weights already
                self.ranks.sum_gradients(self._parameters)
            norm = self._clip()
            self._check_finite(metrics["loss"], norm)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        return metrics | {"grad_norm": norm, "lr": rate}

    def _with_idle(self, batches: list[Batch], *, reference: bool) -> list[Batch]:
        """Appends idle batches until every rank has as many as the one with the most."""
        idle = self.ranks.max_over_ranks(len(batches)) - len(batches)
        return batches + idle * [idle_batch(reference=reference)]

    def _check_finite(self, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            raise NonFiniteError(f"the loss of optimiser step {self.steps_done} is {loss}")
        if not math.isfinite(norm):
            raise NonFiniteError(f"the gradient of optimiser step {self.steps_done} has norm {norm}")

    def _clip(self) -> float:
        """Clips the gradient; returns its norm over all ranks before that."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        return float(full_state(norm))

    def _accumulate(self, batch: Batch, algorithm: Algorithm) -> Metrics:
        """Adds one micro-batch's gradient; returns its metrics, weighted so that micro-batches add up."""
        batch = _to(batch, self.loaded.device)
        logprobs, entropy = self.weights.score(batch)
        loss, metrics = contract.loss(algorithm, logprobs, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        own = {"loss": loss, "entropy": (batch.token_weights * entropy).sum()}
        return metrics | losses.floats(own | losses.mismatch(logprobs, batch))


def learning_rate(config: Optimizer, done: int, total: int) -> float:
    """Returns the rate of optimiser step number ``done`` (from 0) of ``total``."""
    if done < config.warmup_steps:
        return config.lr * (done + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (done - config.warmup_steps) / max(1, total - config.warmup_steps))
    return config.lr * (0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def _copy_for(value: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
    """Returns a copy of an optimiser's ``value``, placed and sharded as the ``parameter`` it belongs to."""
    same_shape = value.shape == parameter.shape
    copied = torch.empty_like(parameter if same_shape else value, dtype=value.dtype, device=parameter.device)
    copy_into(copied, value)
    return copied


@contextmanager
def _training(loaded: LoadedModel) -> Iterator[None]:
    """Enables gradient checkpointing for a block, if configured.

    ``transformers`` checkpoints in train mode only. Otherwise the model stays in eval mode; either way
    without dropout (``models.base.prepare_model``), because the trained policy must be the one that acted.
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
    moved: dict[str, Any] = {k: v.to(device) for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return replace(batch, **moved)

"""Rows -> new weights: forward, loss, backward, AdamW.

What one ``Updater.update`` does, with ``epochs=1``, ``minibatches=2`` and two ranks:

1. Drop the transitions without advantages (``rows_skipped``).
2. Split the rows at random into two minibatches, each of which is one optimiser step. The algorithm gives
   every row its weight per token, normalised over the step, and the step's rows are split between the ranks
   by tokens (``learners.update.shares``). Under ``runtime=ray`` this happens before anything is sent: a rank
   receives the arrays of its own rows.
3. Compute the *proximal* log-probabilities of all sampled tokens: those under the weights before the first
   optimiser step. (With a single optimiser step this is skipped: its own forward pass gives them.)
4. For every optimiser step:

   a. Each rank packs its own rows into micro-batches.
   b. For every micro-batch: forward, loss, backward. Gradients add up; no scaling by the number of
      micro-batches. A rank with fewer of them computes idle ones, because FSDP ranks must run in step.
   c. Sum metrics, and gradients that are not sharded, over ranks. Clip. Refuse a loss or gradient that is not
      finite.
   d. AdamW step, with the learning rate of this step.

5. Return the mean of each metric over optimiser steps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from learners.algorithms import contract, losses
from learners.base import Algorithm, Weights
from learners.errors import NonFiniteError
from learners.types import Batch, LoadedModel, LossMetrics, Metrics, Optimizer, TokenTerms, Transition
from learners.update.fsdp import Ranks, full_state, idle_batch
from learners.update.logprobs import rows_of
from learners.update.packing import Floats, Row, pack
from learners.update.shares import Position, Share, divide, row_counts
from learners.update.state_file import copy_into
from learners.update.sums import Sums
from learners.update.terms import TermsReader

ALONE = Ranks()


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
        terms: dict[int, TokenTerms] | None = None,
    ) -> Metrics:
        """Trains on the transitions that have advantages; all ranks get the same arguments.

        ``terms``: see ``train``.

        Returns:
            ``rows`` and ``tokens`` trained on, ``rows_skipped`` (without advantages), ``rows_no_signal``
            (whose advantages are all 0: nothing but a KL term in the loss acts on them), and, if there are
            any rows, what ``train`` returns.

        Raises:
            NonFiniteError: a loss or gradient is not finite.
        """
        shares = divide(transitions, advantages, algorithm, self.position(), self.ranks.size)
        return row_counts(advantages) | self.train(shares[self.ranks.index], algorithm, terms)

    def position(self, version: int = 0) -> Position:
        """Returns what the division of the next update depends on; ``version``: of the weights."""
        limit = self.loaded.config.max_prompt_tokens
        return Position(self.config, self._seed, self.steps_done, version, limit)

    def train(
        self, share: Share, algorithm: Algorithm, terms: dict[int, TokenTerms] | None = None
    ) -> Metrics:
        """Trains on this rank's share; all ranks must call this, each with its own.

        Args:
            terms: gets what the loss made of the tokens of this rank's rows of the first epoch, by the row's
                number (``Share.numbers``).

        Returns:
            ``loss``, ``entropy``, ``grad_norm`` (before clipping), ``lr``, ``mismatch_kl`` and
            ``mismatch_k1`` (``learners.algorithms.losses.mismatch``) and the algorithm's own, each the mean
            over optimiser steps; nothing if there are none.

        Raises:
            NonFiniteError: a loss or gradient is not finite.
        """
        proximal: Sequence[Floats | None] = [None] * len(share.rows)
        if len(share.steps) > 1:
            proximal = self._proximal_logprobs(share)
        sums: Counter[str] = Counter()
        first_epoch = len(share.steps) // self.config.epochs
        for number in range(len(share.steps)):
            own: dict[int, TokenTerms] | None = {} if terms is not None and number < first_epoch else None
            sums.update(self._step(share.step(number, proximal), algorithm, own))
            if terms is not None and own is not None:
                terms |= {share.numbers[share.steps[number][row][0]]: one for row, one in own.items()}
        return {name: value / len(share.steps) for name, value in sums.items()}

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

    def _proximal_logprobs(self, share: Share) -> list[Floats]:
        """The log-probabilities of the sampled tokens of all rows of the share, under the current weights.

        Every row is computed by one rank. Later epochs may train it on others, which get the values.
        """
        batches = pack([share.rows[place] for place in share.scored], self.loaded.config.update_tokens)
        with self.weights.active(), torch.no_grad():
            padded = self._with_idle(batches, reference=False)
            scored = [self.weights.score(_to(batch, self.loaded.device))[0] for batch in padded]
        values = rows_of(batches, scored)  # idle batches come last: ignored
        known = {share.numbers[share.scored[place]]: row for place, row in values.items()}
        if self.config.epochs > 1:
            known = {number: row for part in self.ranks.all_gather(known) for number, row in part.items()}
        return [known[number] for number in share.numbers]

    def _step(
        self, rows: Sequence[Row], algorithm: Algorithm, terms: dict[int, TokenTerms] | None
    ) -> Metrics:
        """One optimiser step on this rank's rows of it: steps 4a to 4d of the module's docstring.

        ``terms``: gets those of each row's tokens, by its place in ``rows``.
        """
        batches = pack(rows, self.loaded.config.update_tokens)
        reader = None if terms is None else TermsReader(algorithm, batches)
        rate = learning_rate(self.config, self.steps_done, self._total)
        sums = Sums(self.loaded.device)
        with self.weights.active(), _training(self.loaded):
            self._optimizer.zero_grad(set_to_none=True)
            for batch in self._with_idle(batches, reference=algorithm.needs_reference):
                sums.add(self._accumulate(batch, algorithm, reader))
            metrics = self.ranks.all_sum(sums.read())  # before any check: if one rank raises, all must
            if not self._sharded:  # FSDP has summed the gradients of sharded weights already
                self.ranks.sum_gradients(self._parameters)
            norm = self._clip()
            self._check_finite(metrics["loss"], norm)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        if terms is not None and reader is not None:
            terms |= reader.read()
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

    def _accumulate(self, batch: Batch, algorithm: Algorithm, reader: TermsReader | None) -> LossMetrics:
        """Adds one micro-batch's gradient; returns its metrics, weighted so that micro-batches add up."""
        batch = _to(batch, self.loaded.device)
        logprobs, entropy = self.weights.score(batch)
        loss, metrics = contract.loss(algorithm, logprobs, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if reader is not None:
            reader.add(logprobs.detach(), batch)
        own = {"loss": loss, "entropy": (batch.token_weights * entropy).sum()}
        return {**metrics, **own, **losses.mismatch(logprobs, batch)}


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
    """Copies a batch to the device; from pinned memory, so that it does not wait for what a GPU computes."""
    own = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    if device.type == "cuda":
        own = {name: value.pin_memory() for name, value in own.items()}
    moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in own.items()}
    return replace(batch, **moved)

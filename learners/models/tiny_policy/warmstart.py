"""How the teaching policy's weights are trained: a fixed number of supervised steps on demonstrations."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from statistics import fmean
from typing import Any, cast

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from learners.models.tiny_policy.demonstrations import Demonstration
from learners.models.tiny_policy.tokenizer import make_tokenizer

_log = logging.getLogger(__name__)

Example = tuple[list[int], list[int]]
"""(prompt ids, reply ids with the end token)."""

_FIRST_TOKEN_WEIGHT = 10.0
"""Loss weight of a reply's first token, which decides between a program and the end of a stage."""
_WINDOW = 4
"""Number of batches whose examples are sampled together and sorted by length."""


@dataclass(frozen=True)
class Size:
    """Sizes of a Llama; embeddings and output head are tied."""

    vocab: int
    """Upper bound of the number of tokens."""
    hidden: int
    intermediate: int
    layers: int
    heads: int
    context: int
    """Number of positions."""


@dataclass(frozen=True)
class WarmStart:
    """How the initial weights are trained; the same settings give the same weights on the same machine."""

    demonstrations: int
    steps: int
    """Optimiser steps, not seconds: a model trained on a busy machine is as good as any."""
    batch: int
    lr: float
    """Peak learning rate of AdamW; it rises for ``warmup`` steps, then falls linearly to 0."""
    warmup: int
    seed: int
    """Seed of demonstrations, weights and order."""


SIZE = Size(vocab=1200, hidden=128, intermediate=384, layers=3, heads=4, context=1024)
WARM_START = WarmStart(demonstrations=6000, steps=1000, batch=8, lr=4e-3, warmup=20, seed=0)


@dataclass(frozen=True)
class Trained:
    """A warm-started model."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    losses: tuple[float, ...]
    """The loss of each step, in nats."""


def warm_start(
    demonstrations: Sequence[Demonstration], size: Size, settings: WarmStart, *, until: int | None = None
) -> Trained:
    """Trains a small Llama and its tokenizer on the demonstrations.

    Computes on one CPU thread: with matrices this small, more threads only slow each other down.

    Args:
        demonstrations: all that there are; tokenizer and batches are made from them.
        size: of the model.
        settings: of the training.
        until: the step to stop after, with the learning rates of a whole training; None trains it whole.
    """
    tokenizer = make_tokenizer(
        (text for one in demonstrations for text in (_headings(one), one.reply)), size.vocab
    )
    batches = _batches(tokenizer, demonstrations, settings)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        config = llama_config(
            size,
            len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
        losses = _fit(model, batches, settings, until or settings.steps)
    model.eval()  # type: ignore[no-untyped-call]
    return Trained(model, tokenizer, tuple(losses))


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute on one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def mean_loss(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, demonstrations: Sequence[Demonstration]
) -> float:
    """Returns the mean loss per token of the demonstrations' replies, in nats, weighted as in training."""
    with one_thread():
        return _loss(model, [example(tokenizer, one) for one in demonstrations]).item()


def llama_config(size: Size, vocab: int, **token_ids: Any) -> LlamaConfig:
    """Returns the architecture for a vocabulary of ``vocab`` tokens."""
    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        # The usual 0.02 is for wide models; with this value, half the steps suffice.
        initializer_range=size.hidden**-0.5,
        bos_token_id=None,
        **token_ids,
    )


def _headings(demonstration: Demonstration) -> str:
    lines = [line for message in demonstration.messages for line in message.content.split("\n")]
    return "\n".join(line for line in lines if line.startswith("## "))


def example(tokenizer: PreTrainedTokenizerFast, demonstration: Demonstration) -> Example:
    """Returns the ids of what the policy reads, and of what it is trained to write."""
    chat = [asdict(message) for message in demonstration.messages]
    prompt = cast(
        list[int], tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    )
    reply = cast(list[int], tokenizer(demonstration.reply, add_special_tokens=False)["input_ids"])
    return prompt, [*reply, cast(int, tokenizer.eos_token_id)]


def _fit(
    model: LlamaForCausalLM, batches: Iterator[list[Example]], settings: WarmStart, until: int
) -> list[float]:
    """Trains for ``until`` steps; returns their losses."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    every = max(1, settings.steps // 10)
    losses: list[float] = []
    model.train()
    for step in range(1, until + 1):
        loss = _loss(model, next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % every == 0:
            _log.info("step %d of %d, loss %.3f", step, settings.steps, fmean(losses[-every:]))
    return losses


def _batches(
    tokenizer: PreTrainedTokenizerFast, demonstrations: Sequence[Demonstration], settings: WarmStart
) -> Iterator[list[Example]]:
    """Yields batches of random examples of similar length, endlessly: less padding makes training almost
    twice as fast."""

    @cache
    def nth(n: int) -> Example:
        return example(tokenizer, demonstrations[n])

    rng, size = random.Random(settings.seed), settings.batch
    while True:
        drawn = rng.sample(range(len(demonstrations)), min(len(demonstrations), size * _WINDOW))
        drawn.sort(key=lambda n: len(nth(n)[0]) + len(nth(n)[1]))
        parts = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        rng.shuffle(parts)
        yield from ([nth(n) for n in part] for part in parts)


def _rate(step: int, settings: WarmStart) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    return (settings.steps - step) / (settings.steps - settings.warmup)


def _loss(model: LlamaForCausalLM, batch: Sequence[Example]) -> torch.Tensor:
    """Weighted mean cross-entropy of the replies' tokens, in nats."""
    length = max(len(prompt) + len(reply) for prompt, reply in batch)
    ids = torch.full((len(batch), length), int(model.config.pad_token_id or 0))
    weights = torch.zeros((len(batch), length))
    for row, (prompt, reply) in enumerate(batch):
        start, end = len(prompt), len(prompt) + len(reply)
        ids[row, :end] = torch.tensor(prompt + reply)
        weights[row, start:end] = 1.0
        weights[row, start] = _FIRST_TOKEN_WEIGHT
    # Causal attention never looks to the right, so padding there needs no mask.
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    kept = weights[:, 1:] > 0
    logits: Any = model.lm_head(hidden[kept])
    losses = F.cross_entropy(logits, ids[:, 1:][kept], reduction="none")
    return (losses * weights[:, 1:][kept]).sum() / weights.sum()

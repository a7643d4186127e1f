"""The teaching policy's first weights: supervised learning on demonstrations, for a fixed number of steps."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from learners.models.tiny_policy.demonstrations import Demonstration
from learners.models.tiny_policy.tokenizer import make_tokenizer

_log = logging.getLogger(__name__)

Example = tuple[list[int], list[int]]
"""(prompt ids, reply ids with the end token)."""

_FIRST = 10.0
"""Weight of a reply's first token: it alone decides between a program and the end of a stage."""
_WINDOW = 4
"""Batches that are drawn together and sorted by length among themselves."""


@dataclass
class Size:
    """Of the Llama that is trained; embeddings and output head are tied."""

    vocab: int
    """At most this many tokens."""
    hidden: int
    intermediate: int
    layers: int
    heads: int
    context: int
    """Positions."""


@dataclass
class WarmStart:
    """How the first weights are learned; the same settings give the same weights on the same machine."""

    demonstrations: int
    steps: int
    """Optimiser steps: never seconds, or a busy machine would learn less."""
    batch: int
    lr: float
    """Peak rate of AdamW; rises for ``warmup`` steps and falls to 0 in a line after them."""
    warmup: int
    seed: int
    """Of demonstrations, weights and order: the base is the same for every run, as a published one is."""


def warm_start(
    demonstrations: Sequence[Demonstration], size: Size, settings: WarmStart
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A small Llama that has seen the demonstrations, and its tokenizer.

    Computes on one thread of the CPU: for matrices this small more threads only get in each other's way.
    """
    texts = [text for one in demonstrations for text in (_headings(one), one.reply)]
    tokenizer = make_tokenizer(texts, size.vocab)
    examples = [_example(tokenizer, one) for one in demonstrations]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = LlamaForCausalLM(_architecture(tokenizer, size))  # type: ignore[no-untyped-call]
            _fit(model, examples, settings)
    finally:
        torch.set_num_threads(threads)
    model.eval()  # type: ignore[no-untyped-call]
    return model, tokenizer


def _architecture(tokenizer: PreTrainedTokenizerFast, size: Size) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        initializer_range=size.hidden
        ** -0.5,  # the usual 0.02 suits wide models; this learns in half the steps
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )


def _headings(one: Demonstration) -> str:
    lines = [line for message in one.messages for line in message.content.split("\n")]
    return "\n".join(line for line in lines if line.startswith("## "))


def _example(tokenizer: PreTrainedTokenizerFast, one: Demonstration) -> Example:
    chat = [asdict(message) for message in one.messages]
    prompt = cast(
        list[int], tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    )
    reply = cast(list[int], tokenizer(one.reply, add_special_tokens=False)["input_ids"])
    return prompt, [*reply, cast(int, tokenizer.eos_token_id)]


def _fit(model: LlamaForCausalLM, examples: Sequence[Example], settings: WarmStart) -> None:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    batches = _batches(examples, settings.batch, random.Random(settings.seed))
    every = max(1, settings.steps // 10)
    total = 0.0
    model.train()
    for step in range(1, settings.steps + 1):
        loss = _loss(model, next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        total += loss.item()
        if step % every == 0:
            _log.info(
                "warm start of the tiny model: step %d of %d, loss %.3f", step, settings.steps, total / every
            )
            total = 0.0


def _batches(examples: Sequence[Example], size: int, rng: random.Random) -> Iterator[list[Example]]:
    """Endless batches of random examples, each of about one length: less padding, almost half the time."""
    while True:
        drawn = rng.sample(range(len(examples)), min(len(examples), size * _WINDOW))
        drawn.sort(key=lambda n: len(examples[n][0]) + len(examples[n][1]))
        parts = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        rng.shuffle(parts)
        yield from ([examples[n] for n in part] for part in parts)


def _rate(step: int, settings: WarmStart) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    return (settings.steps - step) / (settings.steps - settings.warmup)


def _loss(model: LlamaForCausalLM, batch: Sequence[Example]) -> torch.Tensor:
    """Mean cross-entropy of the replies' tokens, in nats, their first ones counted ``_FIRST`` times."""
    length = max(len(prompt) + len(reply) for prompt, reply in batch)
    ids = torch.full((len(batch), length), int(model.config.pad_token_id or 0))
    weights = torch.zeros((len(batch), length))
    for row, (prompt, reply) in enumerate(batch):
        start, end = len(prompt), len(prompt) + len(reply)
        ids[row, :end] = torch.tensor(prompt + reply)
        weights[row, start:end] = 1.0
        weights[row, start] = _FIRST
    # Causal attention never looks right, so padding there needs no mask.
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    kept = weights[:, 1:] > 0
    logits: Any = model.lm_head(hidden[kept])
    losses = F.cross_entropy(logits, ids[:, 1:][kept], reduction="none")
    return (losses * weights[:, 1:][kept]).sum() / weights.sum()

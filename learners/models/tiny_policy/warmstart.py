"""The teaching policy's initial weights: a fixed number of supervised steps on demonstrations."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from conf import ConfigError
from conf.ranges import Count, Natural, Positive, Seed
from learners.models.tiny_policy.demonstrations import Demonstration
from learners.models.tiny_policy.tokenizer import make_tokenizer

_log = logging.getLogger(__name__)

Example = tuple[list[int], list[int]]
"""(prompt ids, reply ids with the end token)."""

_FIRST_TOKEN_WEIGHT = 10.0
"""Loss weight of a reply's first token, which decides between a program and the end of a stage."""
_WINDOW = 4
"""Number of batches whose examples are sampled together and sorted by length."""


@dataclass
class Size:
    """Sizes of the Llama that is trained; embeddings and output head are tied."""

    vocab: Count
    """Upper bound of the number of tokens."""
    hidden: Count
    intermediate: Count
    layers: Count
    heads: Count
    context: Count
    """Number of positions."""

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):  # rotary positions turn pairs
            raise ConfigError(f"size.hidden must be a multiple of 2 * size.heads, not {self.hidden}")


@dataclass
class WarmStart:
    """How the initial weights are trained; the same settings give the same weights on the same machine."""

    demonstrations: Count
    steps: Count
    """Optimiser steps, not seconds: a model trained on a busy machine is as good as any."""
    batch: Count
    lr: Positive
    """Peak learning rate of AdamW; it rises for ``warmup`` steps, then falls linearly to 0."""
    warmup: Natural
    seed: Seed
    """Seed of demonstrations, weights and order. Like a published model, the base is the same in all runs."""


def warm_start(
    demonstrations: Sequence[Demonstration], size: Size, settings: WarmStart
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Returns a small Llama trained on the demonstrations, and its tokenizer.

    Computes on one CPU thread: with matrices this small, more threads only slow each other down.
    """
    texts = [
        text for demonstration in demonstrations for text in (_headings(demonstration), demonstration.reply)
    ]
    tokenizer = make_tokenizer(texts, size.vocab)
    examples = [_example(tokenizer, demonstration) for demonstration in demonstrations]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            config = llama_config(
                size,
                len(tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
            model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
            _fit(model, examples, settings)
    finally:
        torch.set_num_threads(threads)
    model.eval()  # type: ignore[no-untyped-call]
    return model, tokenizer


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


def _example(tokenizer: PreTrainedTokenizerFast, demonstration: Demonstration) -> Example:
    chat = [asdict(message) for message in demonstration.messages]
    prompt = cast(
        list[int], tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    )
    reply = cast(list[int], tokenizer(demonstration.reply, add_special_tokens=False)["input_ids"])
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
    """Yields batches of random examples of similar length, endlessly: less padding makes training almost
    twice as fast."""
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

"""Samples with the ``transformers`` model that is trained: one copy of the weights, nothing to sync.

The decode loop is our own because ``generate`` neither keeps per-row random streams nor drops finished rows,
and took about 1.7 times as long on small models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from conf.ranges import Count
from envs.types import Message
from learners.base import Weights
from learners.generators.chat import ChatFormat, stop_ids
from learners.rollout import lockstep
from learners.types import Completion, GenerationRequest, LoadedModel
from learners.update.head import compute_logits
from learners.update.logprobs import head_dtype

COMPACT_BELOW = 0.75
"""Drop finished rows once at most this share of the batch still runs: dropping copies the cache."""


@dataclass
class Sampled:
    """What has been sampled of one row of a batch so far."""

    token_ids: list[int]
    logprobs: list[float]
    stopped: bool

    def add(self, token: int, logprob: float, stop: frozenset[int]) -> None:
        """Appends a token."""
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.stopped = token in stop


class Hf:
    """Batched generation; requests of concurrent episodes are batched by ``learners.rollout.lockstep``.

    A row's random stream is decided by its ``seed`` alone. Batch mates can change its logits in the last bits
    (padding, kernel shapes), which is why lockstep keeps batches the same from run to run.

    The logprobs are those of the policy at temperature 1 (the trained one), whatever temperature was sampled
    at; in training the two are the same. No top-k or top-p: they would bias the policy gradient.
    """

    trains = True
    lockstep = True

    @dataclass
    class Config:
        max_batch: Count
        """Rows decoded at once; a larger batch is split."""

    def __init__(self, config: Config, *, policies: Mapping[str, Weights]) -> None:
        self.config = config
        self._policies = {name: _PolicyState(weights) for name, weights in policies.items()}

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """Returns one completion; blocking. ``temperature`` 0 is greedy.

        For how the prompt is made and shortened see ``learners.generators.chat``.
        """
        request = GenerationRequest(messages, seed, temperature)
        return lockstep.call(policy, (order, seed), request, partial(self.batch, policy))

    def batch(self, policy: str, requests: Sequence[GenerationRequest]) -> list[Completion]:
        """Returns one completion per request, in order, sampled as one batch."""
        completions: list[Completion] = []
        owner = self._policies[policy]
        with owner.weights.active() as loaded:  # outside lockstep, callers may be threads too
            for start in range(0, len(requests), self.config.max_batch):
                completions += _batch(owner, loaded, requests[start : start + self.config.max_batch], start)
        return completions

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """Notes the version: the trained weights themselves are sampled from."""
        self._policies[policy].version = version
        return {}

    def sleep(self) -> None:
        """Nothing to free: there is one copy of the weights, and no cache between batches."""

    def wake(self) -> None:
        """Always ready."""

    def close(self) -> None:
        """Nothing runs between batches."""


class _PolicyState:
    """What the generator has of one policy."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        loaded = weights.loaded
        stop = stop_ids(loaded.tokenizer, loaded.model.generation_config)
        self.chat = ChatFormat(loaded.tokenizer, loaded.config, stop, weights.name)
        self.version = 0


def _batch(
    policy: _PolicyState, loaded: LoadedModel, requests: Sequence[GenerationRequest], start: int
) -> list[Completion]:
    """Returns completions, after each was delivered as soon as it was sampled. ``start``: place of the first
    request among those of the round."""
    completions: dict[int, Completion] = {}

    def ended(row: int, sampled: Sampled) -> None:
        completion = policy.chat.completion(prompts[row], sampled.token_ids, sampled.logprobs, policy.version)
        completions[row] = completion
        lockstep.deliver(start + row, completion)

    limit = loaded.config.max_new_tokens
    prompts = [policy.chat.prompt(request.messages) for request in requests]
    decode(
        loaded,
        prompts,
        draws=np.stack([np.random.default_rng(request.seed).random(limit) for request in requests]),
        temperatures=[request.temperature for request in requests],
        stop=policy.chat.stop,
        ended=ended,
    )
    return [completions[row] for row in range(len(requests))]


@torch.inference_mode()
def decode(
    loaded: LoadedModel,
    prompts: Sequence[list[int]],
    *,
    draws: np.ndarray[Any, np.dtype[np.float64]],
    temperatures: Sequence[float],
    stop: frozenset[int],
    ended: Callable[[int, Sampled], None] = lambda row, sampled: None,
) -> list[Sampled]:
    """Samples one completion for each of B prompts.

    Args:
        prompts: B lists of ids, left-padded here.
        draws: float64 [B, L] in [0, 1): a random number per row and step; L is the longest completion.
        temperatures: B numbers; 0 is greedy.
        stop: ids that end a row (and are part of it).
        ended: called with each row, by its number, once it is complete.
    """
    device = loaded.device
    valid = _left_valid(prompts).to(device)
    ids = torch.zeros_like(valid, dtype=torch.long)
    ids[valid] = torch.tensor([token for prompt in prompts for token in prompt], device=device)
    position = (valid.long().cumsum(-1) - 1).clamp(min=0)
    uniform, temperature = torch.tensor(draws, device=device), torch.tensor(temperatures, device=device)
    rows = [Sampled([], [], stopped=False) for _ in prompts]
    live = list(range(len(prompts)))  # row number of each line of the batch
    # One autocast for the whole loop: it caches the cast weights until it ends.
    with torch.autocast(device.type, torch.bfloat16, enabled=loaded.config.autocast):
        forward = _Forward(loaded)
        logits = forward(ids, _prefill_mask(valid), position)
        for step in range(uniform.shape[1]):
            tokens, logprobs = sample(logits, uniform[live, step], temperature[live])
            last = step + 1 == uniform.shape[1]
            for row, token, logprob in zip(live, tokens.tolist(), logprobs.tolist(), strict=True):
                if not rows[row].stopped:
                    rows[row].add(token, logprob, stop)
                    if rows[row].stopped or last:
                        ended(row, rows[row])
            lines = [line for line, row in enumerate(live) if not rows[row].stopped]
            if not lines or last:
                break
            ids, position = tokens[:, None], position[:, -1:] + 1
            valid = torch.cat([valid, valid.new_ones(len(live), 1)], dim=1)
            if len(lines) <= COMPACT_BELOW * len(live):
                kept = torch.tensor(lines, device=device)
                forward.keep(kept)
                ids, position, valid = ids[kept], position[kept], valid[kept]
                live = [live[line] for line in lines]
            logits = forward(ids, valid[:, None, None, :], position)
    return rows


def sample(
    logits: torch.Tensor, uniform: torch.Tensor, temperature: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples by inverse CDF in float64: the same draw and logits give the same token.

    Args:
        logits: [B, V].
        uniform: float64 [B] in [0, 1).
        temperature: [B]; 0 is greedy.

    Returns:
        int64 [B] tokens, and float32 [B] their log-probabilities at temperature 1.
    """
    greedy = temperature == 0
    scaled = logits.double() / torch.where(greedy, 1.0, temperature.double())[:, None]
    cdf = scaled.softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(cdf, (uniform * cdf[:, -1])[:, None], right=True)[:, 0]
    tokens = torch.where(greedy, logits.argmax(-1), drawn.clamp(max=logits.shape[-1] - 1))
    return tokens, logits.float().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


def _left_valid(prompts: Sequence[list[int]]) -> torch.Tensor:
    """bool [B, P]: False where a row is padding, which is on the left."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    return torch.arange(longest)[None, :] >= (longest - lengths)[:, None]


def _prefill_mask(valid: torch.Tensor) -> torch.Tensor:
    """bool [B, 1, P, P]: causal, real tokens only; padding attends to itself: an empty softmax is NaN."""
    size = valid.shape[1]
    square = torch.ones(size, size, dtype=torch.bool, device=valid.device)
    return ((square.tril() & valid[:, None, :]) | torch.eye(size, dtype=torch.bool, device=valid.device))[
        :, None
    ]


class _Forward:
    """Ids -> logits of the next token; only the last position goes through the output head."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = loaded.model
        self._cache = Cache(layer_class_to_replicate=_GrowingLayer)
        head: torch.Tensor = loaded.model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
        self._head = head.to(head_dtype(loaded.model, loaded.config))  # cast once, not once a token

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """ids and position [B, n], mask [B, 1, n, all so far] -> [B, V]."""
        hidden = self._model.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return compute_logits(hidden[:, -1].to(self._head.dtype), self._head)

    def keep(self, lines: torch.Tensor) -> None:
        """Keeps only these lines of the batch."""
        self._cache.batch_select_indices(lines)


class _GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values [B, heads, n, d] as views of a buffer that grows by a quarter: no copy per token."""

    _buffers: tuple[torch.Tensor, torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = (key_states[:, :, :0], value_states[:, :, :0])
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if end > self._buffers[0].shape[2]:
            room = max(end + 64, end * 5 // 4)
            keys, values = self._buffers
            self._buffers = (_grown(keys[:, :, :start], room), _grown(values[:, :, :start], room))
        keys, values = self._buffers
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        keys, values = self._buffers
        length = self.get_seq_length()
        self._buffers = (keys[indices, :, :length], values[indices, :, :length])
        self.keys, self.values = self._buffers


def _grown(states: torch.Tensor, room: int) -> torch.Tensor:
    batch, heads, length, size = states.shape
    buffer = states.new_empty(batch, heads, room, size)
    buffer[:, :, :length] = states
    return buffer

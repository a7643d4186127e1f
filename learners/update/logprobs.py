"""Log-probabilities of sampled tokens under a causal LM: of packed batches, completions and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from learners.models import attention
from learners.models.attention import Borders
from learners.types import Batch, Completion, ModelConfig
from learners.update.head import token_logprobs
from learners.update.packing import Floats, Row, pack


def head_dtype(model: PreTrainedModel, config: ModelConfig) -> torch.dtype:
    """Returns the dtype that logits are multiplied in, for generation and updates alike."""
    return torch.float32 if config.head_float32 else _layers_dtype(model, config)


def _layers_dtype(model: PreTrainedModel, config: ModelConfig) -> torch.dtype:
    return torch.bfloat16 if config.autocast else model.dtype


def batch_logprobs(
    model: PreTrainedModel, batch: Batch, config: ModelConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns [N] log-probabilities and [N] entropies of the trained tokens of a batch, on any device.

    The model is one that ``learners.models.base.prepare_model`` prepared.
    """
    device = model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
        hidden = model.base_model(
            input_ids=batch.ids[None].to(device),
            position_ids=batch.position[None].to(device),
            use_cache=False,
            **attention.arguments(Borders.of(batch.lengths, device)),
        ).last_hidden_state
    chosen = hidden[0, batch.source.to(device)].to(head_dtype(model, config))
    head = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
    half = _layers_dtype(model, config) == torch.bfloat16
    return token_logprobs(chosen, head, batch.target.to(device), bfloat16_gradient=half)


def completion_logprobs(
    model: PreTrainedModel, completions: Sequence[Completion], config: ModelConfig
) -> list[tuple[float, ...]]:
    """Returns the log-probability of every sampled token, one tuple per completion."""
    return score_completions(
        lambda batch: batch_logprobs(model, batch, config), completions, config.update_tokens
    )


def score_completions(
    score: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]],
    completions: Sequence[Completion],
    update_tokens: int,
) -> list[tuple[float, ...]]:
    """``completion_logprobs`` with ``score`` in place of a model; it returns what ``batch_logprobs`` does."""
    rows = [Row.of(completion, [0.0] * len(completion.token_ids), 0.0) for completion in completions]
    return [tuple(values.tolist()) for values in score_rows(score, rows, update_tokens)]


@torch.no_grad()
def score_rows(
    score: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]], rows: Sequence[Row], update_tokens: int
) -> list[Floats]:
    """Returns the log-probability of every sampled token of each row; one without any has an empty array."""
    sampled = [i for i, row in enumerate(rows) if len(row.token_ids)]
    batches = pack([rows[i] for i in sampled], update_tokens)
    scored = [score(batch)[0] for batch in batches]
    logprobs = [np.zeros(0, np.float32)] * len(rows)
    for place, values in rows_of(batches, scored).items():
        logprobs[sampled[place]] = values
    return logprobs


def rows_of(batches: Sequence[Batch], values: Iterable[torch.Tensor]) -> dict[int, Floats]:
    """Returns ``values``, [N] for each of ``batches``, by the number of the row (``Batch.row``).

    They are read at once, when all are computed: to read those of each batch would wait for it. Further ones
    are left out.
    """
    computed = list(values)[: len(batches)]
    if not computed:
        return {}
    numbers = np.concatenate([batch.row.numpy() for batch in batches])
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1)]  # the tokens of a row are one after the other
    parts = np.split(torch.cat(computed).float().cpu().numpy(), starts[1:])
    return {int(numbers[start]): part for start, part in zip(starts, parts, strict=True)}

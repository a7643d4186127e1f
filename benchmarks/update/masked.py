"""Attention of rows that lie end to end under a mask of T x T: the peer of ``learners.models.attention``."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from learners.models.attention import Borders


def dense_mask(borders: Borders) -> torch.Tensor:
    """Returns bool [T, T]: whether a token attends to another, which is not after it and in the same row."""
    device = borders.ends.device
    lengths = torch.tensor(borders.lengths, device=device)
    row = torch.repeat_interleave(lengths, output_size=sum(borders.lengths))
    return (row[:, None] == row) & torch.ones(len(row), len(row), dtype=torch.bool, device=device).tril()


def masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scale: float
) -> torch.Tensor:
    """See ``learners.models.attention.Kernel``. The mask is made in each call; key heads are repeated,
    because kernels that share them take no mask."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
    mask = dense_mask(borders)[None, None]
    attended = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return attended[0].transpose(0, 1)

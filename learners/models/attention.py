"""Causal attention within each of several rows that lie end to end: no row sees another, and there is no mask
of T x T.

``choose`` picks the kernel, the one place that knows devices:

- ``variable_length``: FlashAttention as torch has it (``torch.nn.attention.varlen``), which takes the borders
  of the rows. On NVIDIA GPUs since Ampere, in bfloat16 and float16, with heads of up to 256 numbers.
- ``row_by_row``: one call of ``scaled_dot_product_attention`` a row. Everywhere else: on CPUs it is the
  fastest way that needs no compiler, and on GPUs it is for float32.

FlexAttention is no third one: it compiles, on CPUs with C++ and on GPUs with Triton, which starts a C
compiler; without compilation it makes all T x T scores.

Models reach them through the attention interface of ``transformers``, under the name ``NAME``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from conf import ConfigError

NAME = "rows_end_to_end"
"""Of the attention of prepared models (``install``): that of ``sdpa``, unless a call gives ``Borders``."""
KINDS = {"full_attention", "sliding_attention"}
"""Kinds of layers that can keep rows apart; a recurrent layer would carry one row's state into the next."""


@dataclass(frozen=True)
class Borders:
    """Where R rows that lie end to end begin and end."""

    lengths: tuple[int, ...]
    """Tokens of each row, at least 1; on the host, where loops over rows need them."""
    ends: torch.Tensor
    """int32 [R + 1]: 0, and the sum of the lengths up to each row; on the device of the model."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Borders:
        ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return cls(tuple(lengths), ends.to(device, non_blocking=True))


class Kernel(Protocol):
    """Attends from each token to those of its row up to itself."""

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scale: float
    ) -> torch.Tensor:
        """query [T, H, D], key and value [T, G, D], of one dtype -> [T, H, D].

        H is a multiple of G: head h reads key head h // (H / G). Scores are multiplied by ``scale``.
        """


def variable_length(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scale: float
) -> torch.Tensor:
    """See ``Kernel``: one launch for all rows."""
    from torch.nn.attention.varlen import varlen_attn

    longest, ends = max(borders.lengths), borders.ends
    attended = varlen_attn(
        query,
        key,
        value,
        ends,
        ends,
        longest,
        longest,
        scale=scale,
        window_size=(-1, 0),  # everything before a token and nothing after it
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(attended, torch.Tensor)  # a tuple only where more is asked for
    return attended


def row_by_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scale: float
) -> torch.Tensor:
    """See ``Kernel``: one call for each row."""
    groups = query.shape[1] // key.shape[1]
    shared = groups > 1 and query.device.type == "cpu"
    if groups > 1 and not shared:  # for shared heads in float32, torch has no kernel but one with all scores
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    parts = (x.split_with_sizes(borders.lengths) for x in (query, key, value))
    rows = [_causal(*row, scale=scale, shared=shared) for row in zip(*parts, strict=True)]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _causal(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float, shared: bool
) -> torch.Tensor:
    """One row, [L, H, D] and [L, G, D] -> [L, H, D]; ``shared``: whether H is not G."""
    query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
    attended = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=shared)
    return attended[0].transpose(0, 1)


def choose(device: torch.device, dtype: torch.dtype, width: int) -> Kernel:
    """Returns the fastest kernel for heads of ``width`` numbers of this dtype on this device."""
    half = dtype in (torch.bfloat16, torch.float16)
    if device.type == "cuda" and half and width % 8 == 0 and width <= 256 and _has_flash(device):
        return variable_length
    return row_by_row


@cache
def _has_flash(device: torch.device) -> bool:
    """Whether this torch and GPU have the kernel of ``variable_length``; ROCm's is another one."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before torch 2.10
        return False
    known = {"scale", "window_size", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()
    return known and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)


def arguments(borders: Borders) -> dict[str, Any]:
    """Returns the arguments with which an installed model attends within the rows.

    The mask is none: ``transformers`` passes any tensor of four dimensions on to the layers as it is. It says
    to ``_attend`` that there are borders, should a model's own code lose them.
    """
    return {"attention_mask": borders.ends[None, None, None], "borders": borders}


def install(model: PreTrainedModel, name: str) -> None:
    """Makes a model attend by this module.

    Raises:
        ConfigError: the model, ``name`` in the message, has layers that cannot keep rows apart, or attention
            that is more than a softmax over scaled products.
    """
    config: Any = model.config
    kinds = set(getattr(config, "layer_types", None) or ()) - KINDS
    if kinds:
        raise ConfigError(
            f"model {name}: layers of kind {', '.join(sorted(kinds))} would mix rows that are packed together"
        )
    if getattr(config, "attn_logit_softcapping", None) is not None:
        raise ConfigError(
            f"model {name}: attention with capped scores (attn_logit_softcapping) cannot be trained"
        )
    model.set_attn_implementation("sdpa")  # falls back to another if the model cannot
    if config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)
    if config._attn_implementation != NAME:
        raise ConfigError(
            f"model {name}: its attention cannot be replaced, as updates of packed rows need it"
        )


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    borders: Borders | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function of ``NAME``; query [B, H, T, D], key and value [B, G, T, D] -> [B, T, H, D].

    With borders B is 1. There is no dropout, and no window is shorter than a row (``prepare_model``).
    """
    if borders is None:
        if attention_mask is not None and attention_mask.dtype == torch.int32:
            raise RuntimeError(f"{type(module).__name__} was not given the borders of the rows in its batch")
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return attended
    device, width = query.device, query.shape[-1]
    # Autocast would cast every row by itself, and does not know the variable-length kernel.
    mixed = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type) if mixed else query.dtype
    query, key, value = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    scale = width**-0.5 if scaling is None else scaling
    return choose(device, dtype, width)(query, key, value, borders, scale)[None], None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

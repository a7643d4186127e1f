"""Attention within rows that lie end to end: that of each row alone, at the cost of causal rows, without a
mask."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.update.masked import masked as under_a_mask
from benchmarks.update.pairs import needed
from conf import ConfigError
from learners.models import attention
from learners.models.attention import Borders, choose, install, row_by_row, variable_length
from learners.types import LoadedModel
from learners.update.logprobs import batch_logprobs
from learners.update.packing import Row, pack
from learners.update.updater import _training
from tests.learners.doubles import completion, loaded_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
PACKINGS = [
    (1,),
    (1, 1, 1),
    (40,),
    (20, 20),
    (31, 1, 8),
    *(tuple(random.Random(seed).randint(1, 60) for _ in range(3 + 4 * seed)) for seed in range(4)),
]
HEADS = [(4, 4), (6, 2), (3, 1)]


def inputs(
    lengths: Sequence[int], heads: tuple[int, int], width: int = 8, **where: Any
) -> list[torch.Tensor]:
    """Random query, key, value and gradient of the output."""
    numbers = torch.Generator().manual_seed(len(lengths))
    total, (queries, keys) = sum(lengths), heads
    made = [torch.randn(total, h, width, generator=numbers) for h in (queries, keys, keys, queries)]
    return [x.to(**where).requires_grad_() for x in made]


def slowly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scale: float
) -> torch.Tensor:
    """Token by token and head by head: the softmax over the past of its own row."""
    groups, out = query.shape[1] // key.shape[1], torch.empty_like(query)
    start = 0
    for length in borders.lengths:
        for t in range(start, start + length):
            for head in range(query.shape[1]):
                past = slice(start, t + 1), head // groups
                weights = (scale * key[past] @ query[t, head]).softmax(-1)
                out[t, head] = weights @ value[past]
        start += length
    return out


def masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: Borders, scale: float
) -> torch.Tensor:
    """With a mask of T x T, in the dtype of the arguments."""
    length, groups = len(query), query.shape[1] // key.shape[1]
    row = torch.repeat_interleave(torch.tensor(borders.lengths, device=query.device))
    allowed = (row[:, None] == row) & torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = scale * torch.einsum("qhd,khd->hqk", query, key)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~allowed, float("-inf")).softmax(-1), value)


def results(kernel: Callable[..., torch.Tensor], lengths: Sequence[int], given: list[torch.Tensor]) -> Any:
    """The output and the gradients of query, key and value."""
    *arguments, gradient = given
    out = kernel(*arguments, Borders.of(lengths, given[0].device), 0.3)
    return out, *torch.autograd.grad(out, arguments, gradient)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("lengths", PACKINGS)
def test_the_chosen_kernel_attends_as_each_row_would_alone(
    lengths: tuple[int, ...], heads: tuple[int, int]
) -> None:
    given = inputs(lengths, heads)
    chosen = results(choose(CPU, torch.float32, 8), lengths, given)
    for a, b in zip(chosen, results(masked, lengths, given), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("heads", HEADS)
def test_the_reference_itself_is_right_token_by_token(heads: tuple[int, int]) -> None:
    query, key, value, _ = inputs((1, 5, 3), heads)
    borders = Borders.of((1, 5, 3), CPU)
    with torch.no_grad():
        expected = slowly(query, key, value, borders, 0.3)
    torch.testing.assert_close(masked(query, key, value, borders, 0.3), expected, atol=1e-6, rtol=0)


def test_the_peer_of_benchmarks_computes_the_same_under_a_mask() -> None:
    given = inputs((7, 1, 12), (6, 2))
    for a, b in zip(
        results(under_a_mask, (7, 1, 12), given), results(masked, (7, 1, 12), given), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("lengths", [*PACKINGS, (1500, 1, 700, 130)])
def test_the_kernel_of_a_gpu_attends_as_each_row_would_alone(
    lengths: tuple[int, ...], width: int, dtype: torch.dtype
) -> None:
    """Half precision is compared with float32 results of the same rounded inputs."""
    given = inputs(lengths, (6, 2), width, device=CUDA, dtype=dtype)
    kernel = choose(CUDA, dtype, width)
    exact = [x.detach().float().requires_grad_() for x in given]
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    for a, b in zip(results(kernel, lengths, given), results(masked, lengths, exact), strict=True):
        torch.testing.assert_close(a.float(), b, atol=tolerance, rtol=tolerance)


def test_the_kernel_is_chosen_by_device_dtype_and_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_has_flash", lambda device: True)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert choose(CPU, dtype, 64) is row_by_row
    for dtype in (torch.bfloat16, torch.float16):
        assert choose(CUDA, dtype, 128) is variable_length
        assert choose(CUDA, dtype, 257) is choose(CUDA, dtype, 512) is choose(CUDA, dtype, 100) is row_by_row
    assert choose(CUDA, torch.float32, 128) is row_by_row
    monkeypatch.setattr(attention, "_has_flash", lambda device: False)
    assert choose(CUDA, torch.bfloat16, 128) is row_by_row


@pytest.mark.parametrize("signature", ["new", "old"])
def test_a_torch_without_the_needed_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, signature: str
) -> None:
    import torch.nn.attention.varlen as module

    has_flash = attention._has_flash.__wrapped__
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "hip", None)
    if signature == "old":  # of torch 2.10
        monkeypatch.setattr(module, "varlen_attn", lambda q, k, v, cu_q, cu_k, max_q, max_k: q)
    assert has_flash(CUDA) is (signature == "new")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not has_flash(CUDA)


def documented(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What torch documents of ``varlen_attn``, slowly."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert query.dtype == key.dtype == value.dtype
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert window_size == (-1, 0)
    assert enable_gqa or query.shape[1] == key.shape[1]
    lengths = cu_seq_q.diff().tolist()
    assert max_q == max_k == max(lengths)
    assert int(cu_seq_q[-1]) == len(query) == len(key) == len(value)
    return masked(query, key, value, Borders.of(lengths, CPU), scale)


@pytest.mark.parametrize("heads", HEADS)
def test_the_variable_length_kernel_is_called_as_documented(
    monkeypatch: pytest.MonkeyPatch, heads: tuple[int, int]
) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", documented)
    given = inputs((7, 1, 12), heads)
    for a, b in zip(
        results(variable_length, (7, 1, 12), given), results(row_by_row, (7, 1, 12), given), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def rows(count: int) -> list[Row]:
    """Rows of 2 to 60 tokens; the first one is the longest."""
    dice = random.Random(count)
    made = [completion(20, prompt=40, seed=99)]
    made += [completion(dice.randint(1, 9), prompt=dice.randint(1, 50), seed=i) for i in range(count - 1)]
    return [Row.of(one, [0.0] * len(one.token_ids), 1.0) for one in made]


def learned(
    loaded: LoadedModel, given: list[Row], max_tokens: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The log-probabilities of all sampled tokens by row, and the gradient of a weighted sum of them."""
    model, values = loaded.model, {}
    model.zero_grad()
    with _training(loaded):
        for batch in pack(given, max_tokens):
            logprobs, _ = batch_logprobs(model, batch, loaded.config)
            factor = torch.cos(batch.target.float() + batch.row)
            (factor * logprobs).sum().backward()  # type: ignore[no-untyped-call]
            values.update({n: logprobs[batch.row == n].detach() for n in set(batch.row.tolist())})
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return torch.cat([values[n] for n in range(len(given))]), gradients


@pytest.mark.parametrize(
    ("kind", "max_tokens", "checkpointing"),
    [("llama", 60, False), ("llama", 10_000, True), ("qwen3", 100, True), ("qwen3", 10_000, False)],
)
def test_a_model_learns_from_packed_rows_what_it_learns_from_one_row_at_a_time(
    kind: str, max_tokens: int, checkpointing: bool
) -> None:
    """Two heads share each key head; the longest row fills 60 tokens. Gradients are compared relative to the
    largest of each weight."""
    loaded = loaded_model(kind=kind, gradient_checkpointing=checkpointing)
    given = rows(9)
    packed, gradients = learned(loaded, given, max_tokens)
    alone, expected = learned(loaded, given, 1)
    assert len(pack(given, max_tokens)) < len(pack(given, 1)) == len(given)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * max(1.0, float(b.abs().max())), rtol=0)


def test_autocast_reaches_the_variable_length_kernel_in_one_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under autocast with float32 weights, queries and keys arrive in float32 and values in bfloat16."""
    seen: set[torch.dtype] = set()

    def spy(query: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        seen.add(query.dtype)
        return documented(query, *others, **named)

    loaded, given = loaded_model(kind="qwen3", autocast=True, head_float32=True), rows(5)
    expected, _ = learned(loaded, given, 10_000)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", spy)
    monkeypatch.setattr(attention, "choose", lambda device, dtype, width: variable_length)
    values, _ = learned(loaded, given, 10_000)
    assert seen == {torch.bfloat16}
    torch.testing.assert_close(values, expected, atol=0.1, rtol=0)


def test_attention_computes_the_pairs_that_the_rows_need_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **named: Any) -> torch.Tensor:
        size = query.shape[-2]
        assert key.shape[-2] == size
        causal = named["is_causal"] and named.get("attn_mask") is None
        computed.append(query.shape[0] * (size * (size + 1) // 2 if causal else size * size))
        return original(query, key, value, **named)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", spy)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    loaded, given = loaded_model(), rows(9)
    for batch in pack(given, 200):
        batch_logprobs(loaded.model, batch, loaded.config)
    layers = 2
    assert sum(computed) == layers * needed([len(row) for row in given])


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the number of elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return out


def test_nothing_as_large_as_a_mask_is_ever_made() -> None:
    loaded = loaded_model()
    given = [Row.of(completion(5, prompt=25, seed=i), [0.0] * 5, 1.0) for i in range(100)]
    (batch,) = pack(given, 10_000)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        batch_logprobs(loaded.model, batch, loaded.config)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert 3000 * 32 <= largest.elements < 3000 * 3000 / 10


def test_a_model_that_loses_the_borders_is_an_error_and_not_a_mixture_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = loaded_model()
    (batch,) = pack(rows(3), 10_000)
    mask = attention.arguments(Borders.of(batch.lengths, CPU))["attention_mask"]
    monkeypatch.setattr(attention, "arguments", lambda borders: {"attention_mask": mask})
    with pytest.raises(RuntimeError, match="LlamaAttention was not given the borders"):
        batch_logprobs(loaded.model, batch, loaded.config)


def test_models_whose_layers_mix_rows_are_refused() -> None:
    loaded = loaded_model(kind="qwen3")
    loaded.model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ConfigError, match="model m: layers of kind linear_attention would mix rows"):
        install(loaded.model, "m")
    loaded.model.config.layer_types = ["full_attention", "sliding_attention"]
    install(loaded.model, "m")


def test_models_whose_attention_cannot_be_replaced_are_refused() -> None:
    capped: Any = SimpleNamespace(config=SimpleNamespace(attn_logit_softcapping=50.0))
    with pytest.raises(ConfigError, match="attn_logit_softcapping"):
        install(capped, "m")

    class Stubborn(torch.nn.Module):
        config = SimpleNamespace(_attn_implementation="eager")

        def set_attn_implementation(self, name: str) -> None: ...

    stubborn: Any = Stubborn()
    with pytest.raises(ConfigError, match="its attention cannot be replaced"):
        install(stubborn, "m")


def test_without_borders_a_model_attends_as_before(tmp_path: Any) -> None:
    """So that generation and models that are written and read again do not change."""
    loaded = loaded_model()
    ids, seen = torch.randint(0, 40, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    seen[0, :4] = 0
    with torch.no_grad():
        own = [loaded.model(ids, attention_mask=mask).logits for mask in (None, seen)]
        loaded.model.save_pretrained(tmp_path)
        read: Any = type(loaded.model).from_pretrained(tmp_path)
        read.eval()
        assert read.config._attn_implementation == "sdpa"
        for logits, mask in zip(own, (None, seen), strict=True):
            assert torch.equal(read(ids, attention_mask=mask).logits, logits)

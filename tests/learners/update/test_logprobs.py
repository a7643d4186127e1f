"""Log-probabilities in chunks: values and gradients of the naive way, and never all logits at once."""

from __future__ import annotations

import pytest
import torch

from learners.update import logprobs
from learners.update.logprobs import completion_logprobs, token_logprobs
from tests.learners.doubles import completion, loaded_model


def naive(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    table = (hidden @ weight.T).log_softmax(-1)
    return table.gather(-1, target[:, None])[:, 0], -(table.exp() * table).sum(-1)


def inputs(count: int = 11, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    numbers = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, 6, generator=numbers, dtype=dtype, requires_grad=True)
    weight = torch.randn(17, 6, generator=numbers, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(0, 17, (count,), generator=numbers)


@pytest.mark.parametrize("chunk", [1, 4, 11, 100])
def test_values_and_gradients_equal_the_naive_ones(chunk: int) -> None:
    hidden, weight, target = inputs()
    factor = torch.linspace(-1, 2, len(hidden), dtype=torch.float64)
    logprobs, entropy = token_logprobs(hidden, weight, target, chunk=chunk)
    expected, expected_entropy = naive(hidden, weight, target)
    torch.testing.assert_close(logprobs, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(entropy, expected_entropy, atol=1e-9, rtol=0)
    for a, b in zip(
        torch.autograd.grad((factor * logprobs).sum(), (hidden, weight)),
        torch.autograd.grad((factor * expected).sum(), (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


def test_the_gradient_passes_gradcheck() -> None:
    hidden, weight, target = inputs(5)
    assert torch.autograd.gradcheck(lambda h, w: token_logprobs(h, w, target, chunk=2)[0], (hidden, weight))


def test_bfloat16_hidden_states_give_float32_logprobs_near_the_exact_ones() -> None:
    hidden, weight, target = inputs(200, torch.float32)
    logprobs, _ = token_logprobs(hidden.bfloat16(), weight, target)
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs, naive(hidden, weight, target)[0], atol=0.15, rtol=0)


def test_the_gradient_of_a_bfloat16_head_does_not_depend_on_the_number_of_chunks() -> None:
    hidden, weight, target = (part.detach() for part in inputs(400, torch.float32))
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    exact = weight.double().requires_grad_()
    naive(hidden.double(), exact, target)[0].sum().backward()  # type: ignore[no-untyped-call]
    errors = []
    for chunk in (400, 2):
        own = weight.clone().requires_grad_()
        token_logprobs(hidden, own, target, chunk=chunk)[0].sum().backward()  # type: ignore[no-untyped-call]
        assert exact.grad is not None
        assert own.grad is not None
        errors.append(float((own.grad - exact.grad).norm() / exact.grad.norm()))
    assert max(errors) < 0.005


def test_logits_exist_for_one_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = logprobs.compute_logits

    def spy(hidden: torch.Tensor, weight: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        logits = original(hidden, weight, out=out)
        sizes.append(logits.numel())
        return logits

    monkeypatch.setattr(logprobs, "compute_logits", spy)
    hidden, weight, target = inputs(1000)
    token_logprobs(hidden, weight, target, chunk=64)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert max(sizes) == 64 * 17
    assert sum(sizes) == 2 * 1000 * 17  # once forward, once backward


def test_nothing_as_large_as_all_logits_is_ever_allocated() -> None:
    hidden, weight, target = inputs(4096)
    with torch.profiler.profile(profile_memory=True) as profile:
        token_logprobs(hidden, weight, target, chunk=64)[0].sum().backward()  # type: ignore[no-untyped-call]
    largest = max(event.self_cpu_memory_usage for event in profile.events() or [])
    assert 0 < largest < 4096 * 17 * 8


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_packed_logprobs_equal_those_of_each_row_alone(kind: str) -> None:
    loaded = loaded_model(kind=kind, update_tokens=90)
    rows = [completion(1 + i % 7, prompt=3 + 5 * i % 31, seed=i) for i in range(15)] + [completion(0)]
    packed = completion_logprobs(loaded.model, rows, loaded.config)
    assert packed[-1] == ()
    for row, values in zip(rows[:-1], packed, strict=False):
        ids = torch.tensor([row.prompt_ids + row.token_ids])
        with torch.no_grad():
            table = loaded.model(ids).logits[0].log_softmax(-1)
        start = len(row.prompt_ids)
        expected = [float(table[start + n - 1, token]) for n, token in enumerate(row.token_ids)]
        assert list(values) == pytest.approx(expected, abs=1e-5)

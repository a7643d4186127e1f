"""The output head in chunks: values and gradients of the naive way, and never all logits at once."""

from __future__ import annotations

import pytest
import torch

from learners.update import head
from learners.update.head import token_logprobs


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


def test_the_gradient_of_a_bfloat16_head_does_not_depend_on_the_number_of_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden, weight, target = (part.detach() for part in inputs(400, torch.float32))
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    exact = weight.double().requires_grad_()
    naive(hidden.double(), exact, target)[0].sum().backward()  # type: ignore[no-untyped-call]
    errors = []
    monkeypatch.setattr(head, "KEPT", 0)
    for chunk in (400, 2):
        own = weight.clone().requires_grad_()
        token_logprobs(hidden, own, target, chunk=chunk)[0].sum().backward()  # type: ignore[no-untyped-call]
        assert exact.grad is not None
        assert own.grad is not None
        errors.append(float((own.grad - exact.grad).norm() / exact.grad.norm()))
    assert max(errors) < 0.005


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of all logits that are computed."""
    computed: list[int] = []
    original = head.compute_logits

    def spy(hidden: torch.Tensor, weight: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        logits = original(hidden, weight, out=out)
        computed.append(logits.numel())
        return logits

    monkeypatch.setattr(head, "compute_logits", spy)
    return computed


def test_logits_exist_for_one_chunk_at_a_time(sizes: list[int]) -> None:
    hidden, weight, target = inputs(1000)
    token_logprobs(hidden, weight, target, chunk=64)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert max(sizes) == 64 * 17
    assert sum(sizes) == 2 * 1000 * 17  # once forward, once backward


@pytest.mark.parametrize(
    ("kept", "trained", "times"), [(2 * 1000 * 17, True, 1), (2 * 1000 * 17 - 1, True, 2), (0, False, 1)]
)
def test_a_bfloat16_gradient_needs_logits_again_only_for_a_large_trained_head(
    kept: int, trained: bool, times: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "KEPT", kept)
    hidden, weight, target = inputs(1000, torch.float32)
    own = weight.detach().requires_grad_(trained)
    logprobs, _ = token_logprobs(hidden, own, target, chunk=64, bfloat16_gradient=True)
    logprobs.sum().backward()  # type: ignore[no-untyped-call]
    assert max(sizes) == 64 * 17
    assert sum(sizes) == times * 1000 * 17
    assert (own.grad is not None) == trained


def test_a_bfloat16_gradient_leaves_logprobs_and_entropies_as_they_are() -> None:
    hidden, weight, target = inputs(100, torch.float32)
    expected = token_logprobs(hidden, weight, target, chunk=30)
    for part, exact in zip(
        token_logprobs(hidden, weight, target, chunk=30, bfloat16_gradient=True), expected, strict=True
    ):
        assert torch.equal(part, exact)


@pytest.mark.parametrize("kept", [0, head.KEPT])
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_a_bfloat16_gradient_is_as_exact_as_that_of_autograd_in_bfloat16(
    kept: int, scale: float, weights: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale 4 makes most targets almost certain, so that a gradient is what rounding leaves of 1 - p.

    A twentieth more is chance, because both round at random. Of bfloat16 weights, the sum over chunks is
    rounded once more than each of its parts.
    """
    limit = 1.25 if weights == torch.bfloat16 and not kept else 1.05
    monkeypatch.setattr(head, "KEPT", kept)
    numbers = torch.Generator().manual_seed(0)
    weight = torch.randn(700, 48, generator=numbers).to(weights).requires_grad_()
    target = torch.randint(0, 700, (300,), generator=numbers)
    noise = torch.randn(300, 48, generator=numbers)
    hidden = (scale * (0.3 * weight.detach().float()[target] + 0.2 * noise)).requires_grad_()
    factor = torch.randn(300, generator=numbers).double()

    def gradients(logprobs: torch.Tensor, of: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        return [part.double() for part in torch.autograd.grad((factor * logprobs.double()).sum(), of)]

    exact = hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    expected = gradients(naive(*exact, target)[0], exact)
    own, _ = token_logprobs(hidden, weight, target, chunk=64, bfloat16_gradient=True)
    logits = (hidden.bfloat16() @ weight.bfloat16().T).float().log_softmax(-1)
    plain = logits.gather(-1, target[:, None])[:, 0]
    for ours, theirs, right in zip(
        gradients(own, (hidden, weight)), gradients(plain, (hidden, weight)), expected, strict=True
    ):
        assert (ours - right).norm() <= limit * (theirs - right).norm() < 0.2 * right.norm()


@pytest.mark.parametrize("half", [False, True])
def test_nothing_as_large_as_all_logits_is_ever_allocated(
    half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "KEPT", 0)
    hidden, weight, target = inputs(4096, torch.float32 if half else torch.float64)
    with torch.profiler.profile(profile_memory=True) as profile:
        logprobs, _ = token_logprobs(hidden, weight, target, chunk=64, bfloat16_gradient=half)
        logprobs.sum().backward()  # type: ignore[no-untyped-call]
    largest = max(event.self_cpu_memory_usage for event in profile.events() or [])
    assert 0 < largest <= hidden.nbytes

"""Importance weights, mismatch and KL terms, each against loops over single tokens or a closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

import conf
from conf import ConfigError
from learners.algorithms import losses
from learners.algorithms.settings import IMPORTANCE_WEIGHTING, GroupSettings, Settings
from learners.types import Batch

ROW = torch.tensor([2, 2, 0, 0, 0, 5])
OLD = torch.tensor([-1.0, -0.5, -2.0, -0.1, -3.0, -0.7])
GAP = torch.tensor([0.1, 0.9, -1.5, 0.2, 0.3, -0.05])
"""log pi_proximal - log pi_sampling."""


def settings(**changes: Any) -> Settings:
    plain = Settings(
        credit="action",
        gamma=1.0,
        reward_scale=1.0,
        truncated="mask",
        truncated_penalty=0.0,
        importance_weighting="off",
        importance_cap=2.0,
        icepop_low=0.5,
        icepop_high=1.3,
    )
    return replace(plain, **changes)


def batch(**changes: Any) -> Batch:
    count, nothing = len(ROW), torch.zeros(1, dtype=torch.long)
    plain = Batch(
        ids=nothing,
        position=nothing,
        lengths=(1,),
        source=torch.arange(count),
        target=torch.arange(count),
        row=ROW,
        sampling_logprobs=OLD,
        prox_logprobs=OLD + GAP,
        ref_logprobs=None,
        advantages=torch.ones(count),
        token_weights=torch.full((count,), 1 / count),
    )
    return replace(plain, **changes)


def slow_weights(how: str) -> list[float]:
    each = [math.exp(gap) for gap in GAP.tolist()]
    if how == "off":
        return [1.0] * len(each)
    if how == "token":
        return [min(w, 2.0) for w in each]
    if how == "icepop":
        return [w if 0.5 <= w <= 1.3 else 0.0 for w in each]
    rows = ROW.tolist()
    products = {r: math.prod(w for w, other in zip(each, rows, strict=True) if other == r) for r in rows}
    return [min(products[r], 2.0) for r in rows]


@pytest.mark.parametrize("how", IMPORTANCE_WEIGHTING)
def test_importance_weights_equal_a_slow_reference(how: str) -> None:
    weights, limited = losses.importance(GAP, ROW, settings(importance_weighting=how))
    assert weights.tolist() == pytest.approx(slow_weights(how), rel=1e-6)
    wanted = {
        "off": [0, 0, 0, 0, 0, 0],
        "token": [0, 1, 0, 0, 0, 0],
        "sequence": [1, 1, 0, 0, 0, 0],
        "icepop": [0, 1, 1, 0, 1, 0],
    }
    assert limited.int().tolist() == wanted[how]


@pytest.mark.parametrize("how", IMPORTANCE_WEIGHTING)
def test_the_share_of_limited_weights_is_a_metric(how: str) -> None:
    metrics = losses.compare(OLD + 1.0, batch(), settings(importance_weighting=how)).metrics
    share = {"off": 0, "token": 1 / 6, "sequence": 2 / 6, "icepop": 3 / 6}[how]
    assert float(metrics["importance_limited"]) == pytest.approx(share)


@pytest.mark.parametrize("moved", [0.0, 1.0])
def test_mismatch_is_that_of_the_policy_before_the_update(moved: float) -> None:
    estimates, gaps = losses.mismatch(OLD + GAP + moved, batch()), GAP.tolist()
    assert float(estimates["mismatch_k1"]) == pytest.approx(-sum(gaps) / 6, rel=1e-5)
    assert float(estimates["mismatch_kl"]) == pytest.approx(
        sum(math.exp(g) - 1 - g for g in gaps) / 6, rel=1e-5
    )
    alone = losses.mismatch(OLD + GAP, batch(prox_logprobs=None))
    assert {k: float(v) for k, v in alone.items()} == pytest.approx(
        {k: float(v) for k, v in estimates.items()}
    )


def test_mismatch_kl_estimates_the_divergence_of_the_sampling_policy_from_the_proximal_one() -> None:
    """The expectation is exact: tokens are weighted by the probability with which they are sampled."""
    old, prox = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    given = batch(
        row=torch.arange(3),
        sampling_logprobs=old.log(),
        prox_logprobs=prox.log(),
        token_weights=old,
        advantages=old,
    )
    estimates = losses.mismatch(prox.log(), given)
    divergence = float((old * (old / prox).log()).sum())
    assert float(estimates["mismatch_kl"]) == pytest.approx(divergence, rel=1e-5)
    assert float(estimates["mismatch_k1"]) == pytest.approx(divergence, rel=1e-5)


def test_importance_weights_give_the_gradient_of_this_policy_from_samples_of_another() -> None:
    """In expectation over the sampling policy; uncorrected, they do not."""
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    probs = logits.softmax(0)
    (wanted,) = torch.autograd.grad((probs * advantages).sum(), logits)
    old = torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64)

    def gradient_with(how: str) -> torch.Tensor:
        given = batch(
            row=torch.arange(3),
            sampling_logprobs=old.log(),
            prox_logprobs=None,
            token_weights=old,
            advantages=advantages,
        )
        logprobs = logits.log_softmax(0)
        ratios = losses.compare(logprobs, given, settings(importance_weighting=how, importance_cap=10.0))
        (gradient,) = torch.autograd.grad((old * ratios.importance * ratios.ratio * advantages).sum(), logits)
        return gradient

    torch.testing.assert_close(gradient_with("token"), wanted)
    torch.testing.assert_close(gradient_with("sequence"), wanted)
    assert float((gradient_with("off") - wanted).abs().max()) > 0.01


def test_without_proximal_logprobs_the_ratio_is_1_and_has_the_gradient_of_the_new_ones() -> None:
    logprobs = (OLD + GAP).requires_grad_()
    ratios = losses.compare(logprobs, batch(prox_logprobs=None), settings(importance_weighting="token"))
    assert ratios.ratio.tolist() == [1.0] * 6
    assert not ratios.importance.requires_grad
    assert ratios.importance.tolist() == pytest.approx(slow_weights("token"), rel=1e-6)
    ratios.ratio.sum().backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [1.0] * 6


def test_sums_and_means_are_over_a_rows_tokens() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], requires_grad=True)
    assert losses.row_sums(values, ROW).tolist() == [3.0, 3.0, 28.0, 28.0, 28.0, 32.0]
    means = losses.row_means(values, ROW)
    assert means.tolist() == pytest.approx([1.5, 1.5, 28 / 3, 28 / 3, 28 / 3, 32.0])
    means[2].backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0])


def test_kl_terms_are_the_published_estimates_and_need_a_reference() -> None:
    new, ref = OLD, OLD + torch.linspace(-1, 1, 6)
    given = batch(ref_logprobs=ref)
    for n, r, a, b in zip(
        new.tolist(),
        ref.tolist(),
        losses.k2(new, given).tolist(),
        losses.k3(new, given).tolist(),
        strict=True,
    ):
        assert a == pytest.approx(0.5 * (n - r) ** 2, rel=1e-5)
        assert b == pytest.approx(math.exp(r) / math.exp(n) - (r - n) - 1, abs=1e-6)
    for term in (losses.k2, losses.k3):
        with pytest.raises(ValueError, match="ref_logprobs"):
            term(new, batch())


@pytest.mark.parametrize(
    "wrong",
    [
        {"credit": "everyone"},
        {"gamma": 1.5},
        {"truncated": "drop"},
        {"importance_weighting": "tis"},
        {"importance_cap": 0.5},
        {"icepop_low": 1.5},
        {"icepop_high": 0.9},
    ],
)
def test_an_invalid_setting_is_one_clear_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.{next(iter(wrong))} must be"):
        conf.typed(Settings, vars(settings()) | wrong, "algorithm")


def test_an_unknown_group_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="group must be one of turn, prompt, not 'task'"):
        GroupSettings(**vars(settings()), group="task")

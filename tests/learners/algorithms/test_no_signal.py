"""Rounding errors are no signal: whitening makes nothing of equal returns, whatever their KL term is."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import conf
from conf import ConfigError
from learners.algorithms.advantages import equal, group_relative, leave_one_out, whiten
from learners.policy import Policy
from learners.types import Transition
from tests.learners.doubles import completion, messages, optimizer, transition
from tests.learners.weights.test_weights import team, weights

NAMES = conf.names("algorithm")
NOISE = 1e-6
"""Nats per token by which two computations of the same log-probability differ."""


def algorithm(name: str = "reinforcepp", **changes: Any) -> Any:
    return conf.build("learners", conf.load("algorithm", name, truncated="keep", **changes))


def noisy(scores: list[float], *, agent: str = "a", seed: int = 0) -> list[Transition]:
    """Actions of equal policies: their reference differs by rounding errors."""
    dice, rows = random.Random(f"{agent} {seed}"), []
    for i, score in enumerate(scores):
        sampled = completion(dice.randint(1, 6), seed=i)
        reference = tuple(p + dice.gauss(0, NOISE) for p in sampled.logprobs)
        rows.append(transition(score, agent=agent, episode=f"e{i}", sampled=sampled, reference=reference))
    return rows


def flat(rows: list[list[float] | None]) -> list[float]:
    return [value for row in rows if row is not None for value in row]


PENALISED = algorithm(kl="reward_k1")


@given(
    score=st.floats(0, 10),
    count=st.integers(1, 7),
    baseline=st.sampled_from(["none", "turn_mean", "leave_one_out", "kind_mean"]),
    settings=st.fixed_dictionaries(
        {
            "adv_norm": st.sampled_from(["agent", "all"]),
            "norm_weighting": st.sampled_from(["token", "action"]),
            "deviation": st.sampled_from(["population", "sample"]),
            "reward_scale": st.sampled_from([0.1, 1.0, 1e-6, 3.3]),
            "credit": st.sampled_from(["action", "agent", "team"]),
            "gamma": st.sampled_from([1.0, 0.9]),
        }
    ),
)
def test_equal_returns_get_no_policy_gradient_whatever_the_kl_is(
    score: float, count: int, baseline: str, settings: dict[str, Any]
) -> None:
    config = replace(PENALISED.config, baseline=baseline, **settings)
    subject = type(PENALISED)(config)
    assert set(flat(subject.advantages(noisy([score] * count)))) <= {0.0}


@pytest.mark.parametrize("name", NAMES)
def test_equal_scores_give_exactly_0_in_every_algorithm(name: str) -> None:
    """Also where means are not representable, and groups are equal within but not among each other."""
    rows = [
        transition(score, agent="a", episode=f"{task}{i}", task=task, sampled=completion(i + 1), reference=())
        for task, score in (("x", 0.7), ("y", 1.3), ("z", 9.1))
        for i in range(3)
    ]
    rows = [replace(row, ref_logprobs=row.completion.logprobs) for row in rows]
    changes = {"baseline": "turn_mean"} if name == "reinforcepp" else {}
    assert set(flat(algorithm(name, **changes).advantages(rows))) == {0.0}


def test_an_agent_without_variance_does_not_change_what_the_others_get() -> None:
    varied, still = noisy([1.0, 4.0, 9.0], agent="b"), noisy([5.0] * 3, agent="a")
    subject = algorithm(kl="reward_k1")
    together = subject.advantages(still + varied)
    assert set(flat(together[:3])) == {0.0}
    assert together[3:] == subject.advantages(varied)
    assert all(abs(x) > 0.1 for x in flat(together[3:]))


def test_with_variance_the_kl_term_is_whitened_with_the_returns() -> None:
    rows = noisy([1.0, 4.0, 9.0])
    apart = [replace(row, ref_logprobs=tuple(p - 1 for p in row.completion.logprobs)) for row in rows]
    subject = algorithm(kl="reward_k1", kl_coef=0.5)
    with_kl, without = flat(subject.advantages(apart)), flat(algorithm().advantages(apart))
    assert statistics.mean(with_kl) == pytest.approx(0.0, abs=1e-9)
    assert statistics.pstdev(with_kl) == pytest.approx(1.0, abs=1e-6)
    assert max(abs(a - b) for a, b in zip(with_kl, without, strict=True)) > 0.1


def test_three_steps_of_equal_rewards_do_not_move_the_weights_and_the_metrics_say_so() -> None:
    own = weights("full", optimizer=optimizer(lr=0.02))["first"]
    policy: Policy = team({"first": own})["first"]
    before = [p.detach().clone() for p in own.parameters()]
    subject = algorithm(kl="reward_k1", kl_coef=0.1)
    for step in range(3):
        rows = [
            transition(
                7.0, episode=f"e{i}", sampled=policy.act(messages("x" * i), seed=i + 9 * step, order=i)
            )
            for i in range(4)
        ]
        reference = policy.reference_logprobs([row.completion for row in rows])
        rows = [replace(row, ref_logprobs=ref) for row, ref in zip(rows, reference, strict=True)]
        metrics = policy.update(rows, subject.advantages(rows), subject)
        assert metrics["rows"] == metrics["rows_no_signal"] == 4
        assert metrics["grad_norm"] == 0
    assert all(torch.equal(p, old) for p, old in zip(own.parameters(), before, strict=True))
    rows[0] = replace(rows[0], reward=1.0)
    assert policy.update(rows, subject.advantages(rows), subject)["rows_no_signal"] == 0


@pytest.mark.parametrize(("name", "kl"), [("reinforcepp", "loss_k2"), ("grpo", "loss_k3")])
def test_a_kl_term_in_the_loss_still_acts_on_rows_without_signal(name: str, kl: str) -> None:
    own = weights("full", optimizer=optimizer(lr=0.02))["first"]
    policy = team({"first": own})["first"]
    rows = [
        transition(7.0, episode=f"e{i}", sampled=policy.act(messages("x" * i), seed=i, order=i))
        for i in range(4)
    ]
    far = [replace(t, ref_logprobs=tuple(p - 0.5 for p in t.completion.logprobs)) for t in rows]
    subject = algorithm(name, kl=kl, kl_coef=1.0)
    metrics = policy.update(far, subject.advantages(far), subject)
    assert metrics["rows_no_signal"] == 4
    assert metrics["grad_norm"] > 0
    assert metrics["policy_loss"] == 0


def test_differences_beyond_rounding_are_a_signal() -> None:
    assert equal([])
    assert equal([0.0, -0.0])
    assert equal([0.1 + 0.2, 0.3, 0.3])
    assert equal([1e-300, 1e-300])
    assert not equal([0.3, 0.3 + 1e-8])
    assert not equal([0.0, 1e-12])
    assert not equal([-1.0, 1.0])


# ---- deviation=sample ----


@given(
    values=st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=2, max_size=8),
    lengths=st.randoms(use_true_random=False),
    by_action=st.booleans(),
    deviation=st.sampled_from(["population", "sample"]),
)
def test_whitened_values_equal_a_slow_reference(
    values: list[float], lengths: random.Random, by_action: bool, deviation: str
) -> None:
    rows = [[value + 0.01 * t for t in range(lengths.randint(1, 4))] for value in values]
    found = whiten([*rows, None], ["k"] * (len(rows) + 1), by_action=by_action, deviation=deviation)
    pairs = [(x, 1 / len(row) if by_action else 1.0) for row in rows for x in row]
    total = sum(w for _, w in pairs)
    mean = sum(w * x for x, w in pairs) / total
    rest = sum(w * w for _, w in pairs) / total if deviation == "sample" else 0.0
    if max(x for x, _ in pairs) - min(x for x, _ in pairs) < 1e-6:
        return
    scale = math.sqrt(sum(w * (x - mean) ** 2 for x, w in pairs) / (total - rest))
    assert found[-1] is None
    assert flat(found) == pytest.approx([(x - mean) / scale for x, _ in pairs], rel=1e-4, abs=1e-6)
    if not by_action:
        spread = statistics.stdev if deviation == "sample" else statistics.pstdev
        assert scale == pytest.approx(spread(x for x, _ in pairs))


def test_in_a_group_of_four_the_sample_deviation_is_larger_by_1_155() -> None:
    rows = [transition(score, episode=f"e{i}") for i, score in enumerate([1.0, 2.0, 4.0, 9.0])]
    advantages = {
        name: [row[0] for row in algorithm("grpo", deviation=name).advantages(rows) if row is not None]
        for name in ("population", "sample", True, False)
    }
    scores = [0.1 * score for score in (1.0, 2.0, 4.0, 9.0)]
    mean = statistics.mean(scores)
    for name, scale in (
        ("population", statistics.pstdev(scores)),
        ("sample", statistics.stdev(scores)),
        (True, statistics.pstdev(scores)),
        (False, 1.0),
    ):
        assert advantages[name] == pytest.approx([(score - mean) / scale for score in scores], rel=1e-6)
    ratio = advantages["population"][0] / advantages["sample"][0]
    assert ratio == pytest.approx(math.sqrt(4 / 3), rel=1e-6) == pytest.approx(1.155, abs=1e-3)


@pytest.mark.parametrize("name", ["grpo", "cispo", "gspo", "reinforcepp", "reinforcepp_baseline"])
def test_every_algorithm_that_divides_by_a_deviation_can_use_that_of_a_sample(name: str) -> None:
    rows = [transition(score, episode=f"e{i}") for i, score in enumerate([1.0, 2.0, 4.0, 9.0])]
    whole, sample = (
        algorithm(name, deviation=deviation).advantages(rows) for deviation in ("population", "sample")
    )
    count = 12 if name.startswith("reinforcepp") else 4  # tokens or rows
    wanted = [x * math.sqrt((count - 1) / count) for x in flat(whole)]
    assert flat(sample) == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(ConfigError, match=r"algorithm\.deviation must be .*sample.*not 'smaple'") as caught:
        algorithm(name, deviation="smaple")
    assert "\n" not in str(caught.value)


def test_a_group_of_two_and_an_unknown_value_have_the_deviation_of_what_is_known() -> None:
    rows = [transition(score, episode=f"e{i}") for i, score in enumerate([1.0, 3.0, None])]
    found = group_relative(rows, [1.0, 3.0, None], "turn", deviation="sample")
    assert found[:2] == pytest.approx([-1 / math.sqrt(2), 1 / math.sqrt(2)])
    assert found[2] is None
    assert leave_one_out(rows, [1.0, 3.0, None], "turn") == [-2.0, 2.0, None]

"""GRPO, RLOO, REINFORCE++-baseline, CISPO and GSPO against their papers' formulas, looped in float64.

A slow loss takes the new logprobs twice: as ``new``, and as ``held`` where the paper stops the gradient. So
its finite differences in ``new`` are the paper's gradient.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from conf import ConfigError, build, load
from learners.types import Transition
from learners.update.packing import pack, to_rows
from tests.learners.doubles import completion, transition

Rows = list[list[float]]
NAMES = ("grpo", "rloo", "reinforcepp_baseline", "cispo", "gspo")
TIGHT = {"importance_cap": 1.2, "icepop_low": 0.8, "icepop_high": 1.4}
WIDE = {"clip_low": 0.1, "clip_high": 0.15}


def algorithm(name: str, **changes: Any) -> Any:
    """As shipped, but for ``changes`` and tight limits on importance weights; GSPO with a clip that spares
    some of the sequences that are moved here."""
    return build("learners", load("algorithm", name, **(TIGHT | (WIDE if name == "gspo" else {}) | changes)))


def experience(agents: tuple[str, ...] = ("solver", "verifier")) -> list[Transition]:
    """Two tasks, four episodes of each, lengths, rewards and reference at random; one row is cut off."""
    dice, rows = random.Random(0), []
    for e in range(8):
        for index, agent in enumerate(agents):
            sampled = completion(dice.randint(1, 4), prompt=dice.randint(1, 6), seed=dice.randrange(10**6))
            if e == 3:
                sampled = replace(sampled, finish_reason="length")
            rows.append(
                transition(
                    dice.uniform(0, 10),
                    agent=agent,
                    episode=f"e{e}",
                    index=index,
                    task=f"t{e % 2}",
                    sampled=sampled,
                    reference=tuple(p + dice.gauss(0, 0.3) for p in sampled.logprobs),
                )
            )
    return rows


# ---- the papers ----


def slow_advantages(name: str, c: Any, rows: list[Transition]) -> list[list[float] | None]:
    kept = [t for t in rows if t.completion.finish_reason == "stop"]

    def value(t: Transition) -> float:
        total = 0.1 * float(t.reward or 0.0)
        if name == "rloo" and c.kl == "reward_k1":
            total -= c.kl_coef * (sum(t.completion.logprobs) - sum(t.ref_logprobs or ()))
        return total

    def within(t: Transition) -> float:
        group = [o for o in kept if (o.turn.agent, o.turn.task_id) == (t.turn.agent, t.turn.task_id)]
        values = [value(o) for o in group]
        if name == "rloo":
            return value(t) - statistics.mean(value(o) for o in group if o is not t)
        if name == "reinforcepp_baseline" or not c.deviation:
            return value(t) - statistics.mean(values)
        return (value(t) - statistics.mean(values)) / statistics.pstdev(values)

    def final(t: Transition) -> float:
        if name != "reinforcepp_baseline":
            return within(t)
        pool = [within(o) for o in kept if o.turn.agent == t.turn.agent for _ in o.completion.token_ids]
        return (within(t) - statistics.mean(pool)) / statistics.pstdev(pool)

    return [[final(t)] * len(t.completion.token_ids) if t in kept else None for t in rows]


def slow_importance(c: Any, prox: Rows, old: Rows, k: int, at: int) -> float:
    weight = math.exp(prox[k][at] - old[k][at])
    if c.importance_weighting == "sequence":
        return min(math.exp(sum(prox[k]) - sum(old[k])), float(c.importance_cap))
    if c.importance_weighting == "icepop":
        return weight if c.icepop_low <= weight <= c.icepop_high else 0.0
    return min(weight, float(c.importance_cap)) if c.importance_weighting == "token" else 1.0


def ppo(ratio: float, advantage: float, low: float, high: float) -> float:
    return min(ratio * advantage, max(1 - low, min(1 + high, ratio)) * advantage)


def slow_loss(name: str, c: Any, new: Rows, held: Rows, prox: Rows, old: Rows, ref: Rows, a: Rows) -> float:
    total, tokens = 0.0, sum(map(len, new))
    for k in range(len(new)):
        length = len(new[k])
        mean_of_sequences = name == "gspo" or (name == "grpo" and c.loss_agg == "sequence")
        share = 1 / len(new) / length if mean_of_sequences else 1 / tokens
        for t in range(length):
            w = slow_importance(c, prox, old, k, t)
            ratio, still = math.exp(new[k][t] - prox[k][t]), math.exp(held[k][t] - prox[k][t])
            if name == "grpo":
                gap = ref[k][t] - new[k][t]
                kl = c.kl_coef * (math.exp(gap) - gap - 1) if c.kl == "loss_k3" else 0.0
                loss = -w * ppo(ratio, a[k][t], c.clip_low, c.clip_high) + kl
            elif name == "rloo":
                loss = -w * ratio * a[k][t]
            elif name == "reinforcepp_baseline":
                drift = (new[k][t] - ref[k][t]) ** 2 / 2
                kl = c.kl_coef * w * still * drift if c.kl == "loss_k2" else 0.0
                loss = -w * ppo(ratio, a[k][t], c.clip_low, c.clip_high) + kl
            elif name == "cispo":
                loss = -w * min(still, c.ratio_cap) * a[k][t] * new[k][t]
            else:
                whole = math.exp((sum(new[k]) - sum(prox[k])) / length)
                loss = -w * ppo(whole, a[k][t], c.clip_low, c.clip_high)
            total += share * loss
    return total


# ---- the tests ----

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {"importance_weighting": how})
        for name in NAMES
        for how in ("off", "token", "sequence", "icepop")
    ),
    ("grpo", {"kl": "off", "deviation": False, "loss_agg": "token"}),
    ("rloo", {"kl": "off"}),
    ("reinforcepp_baseline", {"kl": "off"}),
    ("reinforcepp_baseline", {"kl_coef": 0.5}),
    ("cispo", {"deviation": False, "ratio_cap": 1.05}),
    ("gspo", {"deviation": False, "clip_low": 3e-4, "clip_high": 4e-4}),
]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_advantages_equal_the_papers(name: str, changes: dict[str, Any]) -> None:
    rows, subject = experience(), algorithm(name, **changes)
    wanted = slow_advantages(name, subject.config, rows)
    for advantages, row in zip(subject.advantages(rows), wanted, strict=True):
        assert (advantages is None) == (row is None)
        if row is not None:
            assert advantages == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_loss_and_gradient_equal_the_papers(name: str, changes: dict[str, Any]) -> None:
    subject = algorithm(name, **changes)
    rows = [t for t in experience(("solver",)) if t.completion.finish_reason == "stop"]
    a = [row for row in subject.advantages(rows) if row is not None]
    dice = random.Random(1)
    old = [list(t.completion.logprobs) for t in rows]
    ref = [list(t.ref_logprobs or ()) for t in rows]
    prox = [[p + dice.gauss(0, 0.3) for p in row] for row in old]
    new = [[p + dice.gauss(0, 0.2) for p in row] for row in prox]

    def slow(moved: Rows) -> float:
        return slow_loss(name, subject.config, moved, new, prox, old, ref, a)

    total, gradient, seen = 0.0, [[0.0] * len(row) for row in new], [0] * len(rows)
    for batch in pack(to_rows(rows, a, subject.token_weights(rows), prox), 14):
        places = []
        for k in batch.row.tolist():
            places.append((k, seen[k]))
            seen[k] += 1
        logprobs = torch.tensor([new[k][t] for k, t in places], dtype=torch.float64, requires_grad=True)
        loss, _ = subject.loss(logprobs, batch)
        loss.backward()
        total += float(loss.detach())
        assert logprobs.grad is not None
        for (k, t), value in zip(places, logprobs.grad.tolist(), strict=True):
            gradient[k][t] = value
    assert total == pytest.approx(slow(new), abs=1e-6)
    for k, row in enumerate(new):
        for t in range(len(row)):
            assert gradient[k][t] == pytest.approx(slope(slow, new, k, t), abs=1e-6), (k, t)
    assert max(abs(g) for row in gradient for g in row) > 1e-3


def slope(slow: Callable[[Rows], float], new: Rows, k: int, t: int, step: float = 1e-5) -> float:
    """Central difference."""

    def at(value: float) -> float:
        return slow([[value if (i, j) == (k, t) else x for j, x in enumerate(r)] for i, r in enumerate(new)])

    return (at(new[k][t] + step) - at(new[k][t] - step)) / (2 * step)


def test_the_clip_of_gspo_applies_to_whole_sequences() -> None:
    subject = algorithm("gspo", clip_low=0.1, clip_high=0.1, importance_weighting="off")
    rows = [transition(r, episode=f"e{r}", sampled=completion(3, seed=int(r))) for r in (2.0, 8.0)]
    values = [row for row in subject.advantages(rows) if row is not None]
    prox = [t.completion.logprobs for t in rows]
    (batch,) = pack(to_rows(rows, values, subject.token_weights(rows), prox), 100)
    good = batch.advantages > 0
    for shift, share in (([0.3, 0.3, -0.2], 0.5), ([0.3, 0.3, -0.4], 0.0)):  # means of 0.13 and 0.07
        logprobs = batch.sampling_logprobs.clone()
        logprobs[good] += torch.tensor(shift)
        logprobs.requires_grad_()
        loss, metrics = subject.loss(logprobs, batch)
        loss.backward()
        assert metrics["clip_fraction"] == pytest.approx(share)
        assert logprobs.grad is not None
        assert bool((logprobs.grad[good] == 0).all()) == (share > 0)


def test_cispo_caps_the_weight_of_a_token_and_never_removes_its_gradient() -> None:
    subject = algorithm("cispo", ratio_cap=2.0, importance_weighting="off")
    rows = [transition(r, episode=f"e{r}", sampled=completion(2, seed=int(r))) for r in (2.0, 8.0)]
    values = [row for row in subject.advantages(rows) if row is not None]
    prox = [t.completion.logprobs for t in rows]
    (batch,) = pack(to_rows(rows, values, subject.token_weights(rows), prox), 100)
    logprobs = (batch.sampling_logprobs + 3.0).requires_grad_()
    loss, metrics = subject.loss(logprobs, batch)
    loss.backward()
    torch.testing.assert_close(logprobs.grad, -2.0 * batch.token_weights * batch.advantages)
    assert metrics["cap_fraction"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("grpo", {"kl": "reward_k1"}),
        ("grpo", {"loss_agg": "prompt"}),
        ("grpo", {"clip_low": 2.0}),
        ("rloo", {"kl": "loss_k3"}),
        ("reinforcepp_baseline", {"kl": "k2"}),
        ("reinforcepp_baseline", {"clip_high": -0.1}),
        ("cispo", {"ratio_cap": 0.5}),
        ("gspo", {"clip_low": -1.0}),
        ("gspo", {"group": "task"}),
    ],
)
def test_an_invalid_setting_is_one_clear_error(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        algorithm(name, **wrong)

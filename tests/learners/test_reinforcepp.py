"""REINFORCE++ against a slow reference that loops over tokens in float64, for every pair of options."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from conf import ConfigError, build, load
from learners.algorithms.settings import CREDIT, IMPORTANCE_WEIGHTING, TRUNCATED
from learners.reinforcepp import CHOICES as OWN
from learners.reinforcepp import ReinforcePP
from learners.types import Transition
from learners.update.packing import pack, to_rows
from tests.learners.doubles import completion, transition
from tests.learners.pairwise import pairwise

TOLERANCE = 1e-6
CHOICES = OWN | {
    "credit": CREDIT,
    "truncated": TRUNCATED,
    "importance_weighting": IMPORTANCE_WEIGHTING,
    "gamma": (0.0, 0.7, 1.0),
    "dual_clip": (None, 2.0),
}


SHIPPED = build("learners", load("algorithm", "reinforcepp"))


def algorithm(**changes: Any) -> ReinforcePP:
    """The shipped settings with ``changes``."""
    return ReinforcePP(replace(SHIPPED.config, **changes))


def episodes(seed: int = 0, unknown: bool = True, count: int = 4) -> list[Transition]:
    """Episodes of three agents on two tasks: lengths, rewards and reference at random; some rows are
    truncated, some have no reward, one sampled nothing."""
    dice = random.Random(seed)
    rows = []
    for e in range(count):
        index = 0
        for agent in ("engineer", "modeler", "analyst"):
            for attempt in range(dice.randint(1, 3)):
                sampled = completion(
                    length=dice.randint(1, 4),
                    prompt=dice.randint(1, 7),
                    seed=dice.randrange(10**6),
                    finish_reason="length" if dice.random() < 0.2 else "stop",
                )
                reward = None if unknown and dice.random() < 0.12 else dice.uniform(0, 10)
                rows.append(
                    transition(
                        reward,
                        agent=agent,
                        episode=f"e{e}",
                        index=index,
                        attempt=attempt,
                        task=f"t{e % 2}",
                        kind=("classification", "regression")[e % 2],
                        sampled=sampled,
                        reference=tuple(p + dice.gauss(0, 0.3) for p in sampled.logprobs),
                    )
                )
                index += 1
    rows[4] = replace(rows[4], completion=completion(length=0), ref_logprobs=())
    return rows


# ---- the slow reference: nothing clever, one token at a time ----


def slow_return(c: ReinforcePP.Config, rows: list[Transition], k: int) -> float | None:
    me, total = rows[k], 0.0
    later = [
        t
        for t in rows
        if t.episode == me.episode
        and t.turn.index >= me.turn.index
        and (c.credit == "team" or t.turn.agent == me.turn.agent)
    ]
    if c.credit == "action":
        later = [me]
    for distance, t in enumerate(sorted(later, key=lambda t: t.turn.index)):
        factor = c.gamma**distance
        if factor == 0.0:
            continue
        if t.reward is None:
            return None
        total += factor * t.reward * c.reward_scale
    return total


def slow_advantages(c: ReinforcePP.Config, rows: list[Transition]) -> list[list[float] | None]:
    g: list[float | None] = []
    for k, t in enumerate(rows):
        value = slow_return(c, rows, k)
        if t.completion.finish_reason == "length":
            if c.truncated == "mask":
                value = None
            if c.truncated == "penalty" and value is not None:
                value -= c.truncated_penalty
        if len(t.completion.token_ids) == 0:
            value = None
        g.append(value)

    def same(a: Transition, b: Transition) -> bool:
        if c.baseline == "kind_mean":
            return (a.turn.agent, a.turn.attempt, a.turn.kind) == (b.turn.agent, b.turn.attempt, b.turn.kind)
        return (a.turn.agent, a.turn.attempt, a.turn.task_id) == (
            b.turn.agent,
            b.turn.attempt,
            b.turn.task_id,
        )

    tokens: list[list[float] | None] = []
    for k, t in enumerate(rows):
        value = g[k]
        if value is None:
            tokens.append(None)
            continue
        if c.baseline != "none":
            group = [i for i in range(len(rows)) if g[i] is not None and same(rows[i], t)]
            if len(group) == 1:
                tokens.append(None)
                continue
            compared = [i for i in group if c.baseline != "leave_one_out" or i != k]
            value -= sum(g[i] for i in compared) / len(compared)  # type: ignore[misc]
        row = []
        for at in range(len(t.completion.token_ids)):
            kl = 0.0
            if c.kl == "reward_k1":
                assert t.ref_logprobs is not None
                for later in range(at, len(t.completion.token_ids)):
                    kl += t.completion.logprobs[later] - t.ref_logprobs[later]
            row.append(value - c.kl_coef * kl)
        tokens.append(row)
    if c.adv_norm == "none":
        return tokens
    known = [(k, t.turn.agent, row) for k, (t, row) in enumerate(zip(rows, tokens, strict=True)) if row]
    whitened: list[list[float] | None] = [None] * len(tokens)
    for agent in sorted({agent for _, agent, _ in known}):
        pool = []
        for _, other, values in known:
            if c.adv_norm == "all" or other == agent:
                for x in values:
                    pool.append((1.0 if c.norm_weighting == "token" else 1.0 / len(values), x))
        mass = sum(w for w, _ in pool)
        mean = sum(w * x for w, x in pool) / mass
        std = math.sqrt(sum(w * (x - mean) ** 2 for w, x in pool) / mass)
        for k, other, values in known:
            if other == agent:
                whitened[k] = [(x - mean) / (std + 1e-8) for x in values]
    return whitened


def slow_weight(c: ReinforcePP.Config, rows: list[Transition], k: int) -> float:
    def turn(t: Transition) -> tuple[str, str, int]:
        return t.turn.agent, t.turn.task_id, t.turn.attempt

    if c.loss_agg == "token":
        return 1.0 / sum(len(t.completion.token_ids) for t in rows)
    if c.loss_agg == "sequence":
        return 1.0 / len(rows) / len(rows[k].completion.token_ids)
    mine = sum(len(t.completion.token_ids) for t in rows if turn(t) == turn(rows[k]))
    return 1.0 / len({turn(t) for t in rows}) / mine


def slow_importance(c: ReinforcePP.Config, prox: list[float], old: list[float], at: int) -> float:
    """The importance weight of one token of a row."""
    weight = math.exp(prox[at] - old[at])
    if c.importance_weighting == "token":
        return min(weight, c.importance_cap)
    if c.importance_weighting == "sequence":
        product = 1.0
        for a, b in zip(prox, old, strict=True):
            product *= math.exp(a - b)
        return min(product, c.importance_cap)
    if c.importance_weighting == "icepop":
        return weight if c.icepop_low <= weight <= c.icepop_high else 0.0
    return 1.0


def slow_token_loss(
    c: ReinforcePP.Config, new: float, prox: float, ref: float, advantage: float, importance: float
) -> float:
    ratio = math.exp(new - prox)
    clipped = ratio
    if clipped < 1.0 - c.clip_low:
        clipped = 1.0 - c.clip_low
    if clipped > 1.0 + c.clip_high:
        clipped = 1.0 + c.clip_high
    objective = min(ratio * advantage, clipped * advantage)
    if c.dual_clip is not None and advantage < 0:
        objective = max(objective, c.dual_clip * advantage)
    loss = -importance * objective
    if c.kl == "loss_k2":
        loss += c.kl_coef * importance * ratio * 0.5 * (new - ref) ** 2
    return loss


# ---- the tests ----


ADVANTAGES = ("credit", "gamma", "baseline", "kl", "truncated", "adv_norm", "norm_weighting")
LOSS = ("loss_agg", "kl", "dual_clip", "importance_weighting")


def combinations(names: tuple[str, ...], more: int = 0) -> list[dict[str, Any]]:
    """Combinations with every pair of values of the options, and some at random."""
    dice, options = random.Random(0), {name: CHOICES[name] for name in names}
    drawn = [{name: dice.choice(values) for name, values in options.items()} for _ in range(more)]
    return pairwise(options) + drawn


def test_combinations_cover_every_pair_of_values() -> None:
    for names in (ADVANTAGES, LOSS):
        chosen = combinations(names)
        assert len(chosen) < 24
        for a, b in itertools.combinations(names, 2):
            seen = {(options[a], options[b]) for options in chosen}
            assert seen == set(itertools.product(CHOICES[a], CHOICES[b]))


def close(values: list[list[float] | None], wanted: list[list[float] | None]) -> bool:
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and a == pytest.approx(b, abs=TOLERANCE, rel=0))
        for a, b in zip(values, wanted, strict=True)
    )


@pytest.mark.parametrize("seed", [0, 8])
def test_advantages_equal_the_slow_reference(seed: int) -> None:
    rows = episodes(seed, count=8)
    for options in combinations(ADVANTAGES, more=40):
        subject = algorithm(**options)
        advantages, wanted = subject.advantages(rows), slow_advantages(subject.config, rows)
        assert close(advantages, wanted), options
        assert any(row is not None for row in advantages)


@pytest.mark.parametrize(
    "options", combinations(LOSS, more=6), ids=lambda options: "-".join(map(str, options.values()))
)
def test_the_loss_equals_the_slow_reference(options: dict[str, Any]) -> None:
    rows = [t for t in episodes(1, unknown=False) if t.turn.agent == "modeler"]
    subject = algorithm(
        clip_low=0.2, clip_high=0.3, importance_cap=1.3, icepop_low=0.8, icepop_high=1.5, **options
    )
    advantages = subject.advantages(rows)
    used = [t for t, a in zip(rows, advantages, strict=True) if a is not None]
    values = [a for a in advantages if a is not None]
    dice, wanted, total = random.Random(2), 0.0, 0.0
    prox = [[p + dice.gauss(0, 0.3) for p in t.completion.logprobs] for t in used]
    new = [[p + dice.gauss(0, 0.8) for p in row] for row in prox]
    for k, t in enumerate(used):
        assert t.ref_logprobs is not None
        for at in range(len(new[k])):
            weight = slow_weight(subject.config, used, k)
            factor = slow_importance(subject.config, prox[k], list(t.completion.logprobs), at)
            wanted += weight * slow_token_loss(
                subject.config, new[k][at], prox[k][at], t.ref_logprobs[at], values[k][at], factor
            )
            total += weight
    assert total == pytest.approx(1.0)
    loss = 0.0
    for batch in pack(to_rows(used, values, subject.token_weights(used), prox), max_tokens=16):
        logprobs = torch.tensor([new[r][n] for r, n in counted(batch.row.tolist())], dtype=torch.float64)
        loss += float(subject.loss(logprobs, batch)[0])
    assert loss == pytest.approx(wanted, abs=TOLERANCE)


def counted(rows: list[int]) -> list[tuple[int, int]]:
    """[3, 3, 1] -> [(3, 0), (3, 1), (1, 0)]"""
    return [(row, rows[:n].count(row)) for n, row in enumerate(rows)]


def test_metrics_of_micro_batches_add_up_to_those_of_one_batch() -> None:
    rows = episodes(3, unknown=False)
    subject = algorithm(kl="loss_k2", dual_clip=3.0, truncated="keep")
    rows = [t for t in rows if t.completion.token_ids]
    values = [a for a in subject.advantages(rows) if a is not None]
    packed = to_rows(rows, values, subject.token_weights(rows), [t.completion.logprobs for t in rows])

    def total(max_tokens: int) -> dict[str, float]:
        sums: dict[str, float] = {}
        for batch in pack(packed, max_tokens):
            shift = torch.sin(batch.sampling_logprobs * 9) * 0.5  # the same for a token wherever it is packed
            for name, value in subject.loss(batch.sampling_logprobs + shift, batch)[1].items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    assert len(pack(packed, 16)) > 3
    assert total(16) == pytest.approx(total(10**6), abs=1e-5)
    assert 0 < total(16)["clip_fraction"] < 1


def test_the_gradient_at_unchanged_weights_is_minus_advantage_times_weight() -> None:
    rows = [t for t in episodes(4, unknown=False) if t.completion.token_ids]
    subject = algorithm(truncated="keep")
    values = [a for a in subject.advantages(rows) if a is not None]
    (batch,) = pack(to_rows(rows, values, subject.token_weights(rows)), 10**6)
    logprobs = batch.sampling_logprobs.clone().requires_grad_()  # the engine agrees with the trainer
    loss, metrics = subject.loss(logprobs, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(logprobs.grad, -batch.token_weights * batch.advantages)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["approx_kl"] == 0.0


def test_dual_clip_bounds_the_loss_of_a_bad_action_and_leaves_good_ones_alone() -> None:
    rows = [transition(0.0, sampled=completion(1, seed=1)), transition(10.0, sampled=completion(1, seed=2))]
    subject = algorithm(dual_clip=3.0)
    values = [a for a in subject.advantages(rows) if a is not None]
    (batch,) = pack(to_rows(rows, values, [1.0, 1.0], [t.completion.logprobs for t in rows]), 100)
    bad = batch.advantages < 0
    far = batch.sampling_logprobs + 5.0
    loss = subject.loss(far, replace(batch, token_weights=bad.float()))[0]
    assert float(loss) == pytest.approx(3.0, rel=1e-4)
    assert float(subject.loss(far, replace(batch, token_weights=(~bad).float()))[0]) == pytest.approx(
        -1.2, rel=1e-4
    )


@pytest.mark.parametrize("known", [True, False], ids=["vast ratio", "vast importance weight"])
def test_a_huge_ratio_makes_no_nan_gradient(known: bool) -> None:
    rows = [transition(r, sampled=completion(2, seed=int(r))) for r in (1.0, 9.0)]
    subject = algorithm()
    values = [a for a in subject.advantages(rows) if a is not None]
    prox = [t.completion.logprobs if known else None for t in rows]
    (batch,) = pack(to_rows(rows, values, subject.token_weights(rows), prox), 100)
    logprobs = (batch.sampling_logprobs + 500.0).requires_grad_()
    subject.loss(logprobs, batch)[0].backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert torch.isfinite(logprobs.grad).all()


def test_masked_rows_change_nothing_for_the_others() -> None:
    rows = episodes(5, unknown=False)
    extra = [
        transition(9.0, agent="modeler", episode="x", sampled=completion(6, finish_reason="length")),
        transition(None, agent="modeler", episode="y", sampled=completion(6)),
    ]
    subject = algorithm(credit="action", baseline="kind_mean")
    with_extra = subject.advantages(rows + extra)
    assert with_extra[-2:] == [None, None]
    assert with_extra[:-2] == subject.advantages(rows)


def test_a_return_with_an_unknown_reward_is_masked_and_those_of_earlier_agents_only_for_teams() -> None:
    rows = [
        transition(5.0, agent="a", index=0),
        transition(None, agent="b", index=1),
        transition(5.0, agent="b", index=2, attempt=1),
    ]

    def masked(credit: str, gamma: float = 1.0) -> list[bool]:
        return [row is None for row in algorithm(credit=credit, gamma=gamma).advantages(rows)]

    assert masked("action") == [False, True, False]
    assert masked("agent") == [False, True, False]
    assert masked("team") == [True, True, False]
    assert masked("team", gamma=0.0) == [False, True, False]


def test_whitened_advantages_of_each_agent_have_mean_0_and_deviation_1() -> None:
    rows = episodes(6)
    advantages = algorithm(adv_norm="agent").advantages(rows)
    for agent in ("engineer", "modeler", "analyst"):
        pool = torch.tensor(
            [x for t, a in zip(rows, advantages, strict=True) if t.turn.agent == agent for x in a or []],
            dtype=torch.float64,
        )
        assert float(pool.mean()) == pytest.approx(0.0, abs=1e-6)
        assert float(pool.std(correction=0)) == pytest.approx(1.0, abs=1e-6)


def test_equal_rewards_teach_nothing() -> None:
    advantages = algorithm().advantages([transition(7.0, episode=f"e{i}") for i in range(3)])
    assert all(abs(x) < 1e-6 for row in advantages if row is not None for x in row)


def test_scores_of_another_agent_do_not_move_an_agents_advantages() -> None:
    rows = episodes(7, unknown=False)
    moved = [
        replace(t, reward=9.9) if t.turn.agent == "analyst" and t.reward is not None else t for t in rows
    ]
    for t, a, b in zip(rows, algorithm().advantages(rows), algorithm().advantages(moved), strict=True):
        if t.turn.agent != "analyst":
            assert a == b


@pytest.mark.parametrize("baseline", ["turn_mean", "leave_one_out", "kind_mean"])
def test_a_row_with_nothing_to_compare_it_with_is_not_trained_on(baseline: str) -> None:
    rows = [transition(float(i), episode=f"e{i}") for i in range(3)]
    alone = transition(9.0, episode="e0", index=1, attempt=1)
    advantages = algorithm(baseline=baseline).advantages([*rows, alone])
    assert [row is None for row in advantages] == [False, False, False, True]
    assert advantages[:3] == algorithm(baseline=baseline).advantages(rows)


def test_no_transitions_give_no_advantages() -> None:
    assert algorithm(baseline="leave_one_out").advantages([]) == []


def test_a_reference_is_needed_exactly_if_there_is_a_kl_term() -> None:
    assert [algorithm(kl=kl).needs_reference for kl in CHOICES["kl"]] == [False, True, True]
    with pytest.raises(ValueError, match="ref_logprobs"):
        algorithm(kl="reward_k1").advantages([transition(1.0)])


@pytest.mark.parametrize(
    "wrong", [{"dual_clip": 1.0}, {"kl": "k3"}, {"loss_agg": "mean"}, {"clip_low": -0.1}]
)
def test_an_invalid_setting_is_one_clear_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        build("learners", load("algorithm", "reinforcepp", **wrong))

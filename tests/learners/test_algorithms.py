"""Properties of every algorithm: sums over micro-batches, masking, and that better actions become
likelier."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

import conf
from learners.algorithms.settings import IMPORTANCE_WEIGHTING
from learners.types import Batch, Completion, Transition
from learners.update.packing import Row, pack, split_indices, to_rows
from tests.learners.doubles import completion, transition

NAMES = conf.names("algorithm")
SHARED = {"importance_limited", "approx_kl"}
"""Metrics that all shipped algorithms have."""
every = pytest.mark.parametrize("name", NAMES)
corrected = pytest.mark.parametrize("how", IMPORTANCE_WEIGHTING)


def algorithm(name: str, **changes: Any) -> Any:
    return conf.build("learners", conf.load("algorithm", name, **changes))


def experience() -> list[Transition]:
    """Two agents, two tasks, four episodes of each; rows 3 to 5 are cut off, unscored and empty."""
    dice, rows = random.Random(0), []
    for e in range(8):
        for agent in ("solver", "verifier"):
            sampled = completion(dice.randint(1, 5), prompt=dice.randint(1, 6), seed=dice.randrange(10**6))
            reference = tuple(p + dice.gauss(0, 0.3) for p in sampled.logprobs)
            given = {"agent": agent, "episode": f"e{e}", "task": f"t{e % 2}", "reference": reference}
            rows.append(transition(dice.uniform(0, 10), sampled=sampled, **given))  # type: ignore[arg-type]
    cut = replace(rows[3].completion, finish_reason="length")
    rows[3] = replace(rows[3], completion=cut)
    rows[4] = replace(rows[4], reward=None, verdict=None)
    rows[5] = replace(rows[5], completion=completion(0), ref_logprobs=())
    return rows


def step(name: str, **changes: Any) -> tuple[Any, list[Row], list[Transition]]:
    """The solver's rows of one optimiser step; the engine and the trainer disagree, and the weights have
    moved."""
    subject, rows = algorithm(name, **changes), experience()
    used = [
        (t, a)
        for t, a in zip(rows, subject.advantages(rows), strict=True)
        if a is not None and t.turn.agent == "solver"
    ]
    transitions = [t for t, _ in used]
    dice = random.Random(1)
    prox = [[p + dice.gauss(0, 0.5) for p in t.completion.logprobs] for t in transitions]
    return (
        subject,
        to_rows(transitions, [a for _, a in used], subject.token_weights(transitions), prox),
        transitions,
    )


def computed(subject: Any, rows: list[Row], max_tokens: int) -> tuple[dict[Any, float], dict[str, float]]:
    """The gradient at each token, by its row's ids and place, and the sums of all metrics."""
    gradient: dict[Any, float] = {}
    sums: dict[str, float] = {}
    for batch in pack(rows, max_tokens):
        logprobs = shifted(batch).requires_grad_()
        loss, metrics = subject.loss(logprobs, batch)
        loss.backward()
        assert logprobs.grad is not None
        places: dict[int, int] = {}
        for number, value in zip(batch.row.tolist(), logprobs.grad.tolist(), strict=True):
            places[number] = places.get(number, -1) + 1
            gradient[tuple(rows[number].prompt_ids.tolist()), places[number]] = value
        for key, value in (metrics | {"loss": float(loss.detach())}).items():
            sums[key] = sums.get(key, 0.0) + float(value)
    return gradient, sums


def shifted(batch: Batch) -> torch.Tensor:
    """New logprobs: the same for a token wherever it is packed."""
    assert batch.prox_logprobs is not None
    return (batch.prox_logprobs + torch.sin(batch.sampling_logprobs * 9) * 0.5).detach()


def test_all_six_algorithms_are_shipped() -> None:
    assert {"reinforcepp", "reinforcepp_baseline", "grpo", "rloo", "cispo", "gspo"} <= set(NAMES)


@every
def test_the_weights_of_a_step_add_up_to_1(name: str) -> None:
    _, rows, _ = step(name)
    assert math.fsum(row.token_weight * len(row.advantages) for row in rows) == pytest.approx(1.0)


@every
def test_there_is_one_advantage_per_token_and_none_for_truncated_unscored_and_empty_rows(name: str) -> None:
    rows = experience()
    advantages = algorithm(name).advantages(rows)
    assert [i for i, row in enumerate(advantages) if row is None] == [3, 4, 5]
    for t, row in zip(rows, advantages, strict=True):
        assert row is None or len(row) == len(t.completion.token_ids)
    assert algorithm(name).advantages([]) == []


@every
@corrected
def test_losses_gradients_and_metrics_of_shards_and_micro_batches_add_up(name: str, how: str) -> None:
    subject, rows, _ = step(name, importance_weighting=how)
    whole, wanted = computed(subject, rows, 10**6)
    assert len(pack(rows, 10**6)) == 1
    assert len(pack(rows, 12)) > 2
    for parts in ([rows], [[rows[i] for i in part] for part in split_indices(rows, 3)]):
        gradient: dict[Any, float] = {}
        sums = dict.fromkeys(wanted, 0.0)
        for part in parts:
            own, metrics = computed(subject, part, 12)
            gradient |= own
            sums = {key: sums[key] + metrics[key] for key in sums}
        assert gradient == pytest.approx(whole, abs=1e-6)
        assert sums == pytest.approx(wanted, abs=1e-5)
    assert wanted.keys() >= SHARED | {"policy_loss", "loss"}
    assert wanted["approx_kl"] > 0.01
    assert (wanted["importance_limited"] > 0) == (how != "off")


@every
@corrected
def test_if_all_policies_agree_the_gradient_is_minus_weight_times_advantage(name: str, how: str) -> None:
    changes = {"kl": "off"} if "kl" in conf.load("algorithm", name) else {}
    subject, rows, transitions = step(name, importance_weighting=how, **changes)
    (batch,) = pack([replace(row, prox_logprobs=None, ref_logprobs=None) for row in rows], 10**6)
    logprobs = batch.sampling_logprobs.clone().requires_grad_()
    loss, metrics = subject.loss(logprobs, batch)
    loss.backward()
    torch.testing.assert_close(logprobs.grad, -batch.token_weights * batch.advantages, atol=1e-6, rtol=1e-5)
    assert {float(metrics[key]) for key in SHARED} == {0.0}
    assert "reference_kl" not in metrics
    assert len(transitions) == len(rows)


@every
def test_a_reference_is_needed_exactly_if_there_is_a_kl_term(name: str) -> None:
    kinds = {"off", "reward_k1", "loss_k2", "loss_k3"}
    for kl in kinds if "kl" in conf.load("algorithm", name) else {None}:
        try:
            subject = algorithm(name) if kl is None else algorithm(name, kl=kl)
        except conf.ConfigError:
            continue
        assert subject.needs_reference == (kl not in (None, "off"))
        rows = [replace(t, ref_logprobs=None) for t in experience()]

        def run(subject: Any = subject, rows: list[Transition] = rows) -> None:
            used = [(t, a) for t, a in zip(rows, subject.advantages(rows), strict=True) if a is not None]
            weights = subject.token_weights([t for t, _ in used])
            for batch in pack(to_rows([t for t, _ in used], [a for _, a in used], weights), 10**6):
                subject.loss(batch.sampling_logprobs, batch)

        if subject.needs_reference:
            with pytest.raises(ValueError, match="ref_logprobs"):
                run()
        else:
            run()


# ---- a bandit: two prompts, two actions, one of them better ----


def play(logits: torch.Tensor, seed: int, engine: float) -> list[Transition]:
    """Sixteen actions per prompt, sampled and reported by an engine whose logits are off by a factor."""
    numbers, rows_played = torch.Generator().manual_seed(seed), []
    sampling = (logits.detach() * engine).log_softmax(-1)
    for e in range(32):
        prompt = e % 2
        action = int(torch.multinomial(sampling[prompt].exp(), 1, generator=numbers))
        row = Completion("", (prompt,), (action,), (float(sampling[prompt, action]),), 0, "stop")
        better = 1 - prompt
        rows_played.append(
            transition(
                8.0 if action == better else 3.0,
                episode=f"e{e}",
                task=f"t{prompt}",
                sampled=row,
                reference=(math.log(0.5),),
            )
        )
    return rows_played


CHANGES: dict[str, dict[str, Any]] = {"reinforcepp": {"baseline": "turn_mean"}}
CASES = [*((name, CHANGES.get(name, {})) for name in NAMES), ("grpo", {"group": "prompt"})]


@pytest.mark.parametrize(("name", "changes"), CASES)
@pytest.mark.parametrize("engine", [1.0, 0.7], ids=["same engine", "other engine"])
def test_the_better_action_becomes_more_likely(name: str, changes: dict[str, Any], engine: float) -> None:
    """With two optimiser steps a batch, so that ratios leave 1."""
    subject = algorithm(name, **changes)
    logits = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for number in range(15):
        rows = play(logits, number, engine)
        used = [(t, a) for t, a in zip(rows, subject.advantages(rows), strict=True) if a is not None]
        given = [t for t, _ in used]
        now = logits.detach().log_softmax(-1)
        prox = [[float(now[t.completion.prompt_ids[0], t.completion.token_ids[0]])] for t in given]
        packed = to_rows(given, [a for _, a in used], subject.token_weights(given), prox)
        for _ in range(2):
            optimizer.zero_grad()
            for batch in pack(packed, 10**6):
                prompts = torch.tensor([given[k].completion.prompt_ids[0] for k in batch.row.tolist()])
                logprobs = logits.log_softmax(-1)[prompts, batch.target]
                subject.loss(logprobs, batch)[0].backward()
            optimizer.step()
    better = logits.detach().softmax(-1)[[0, 1], [1, 0]]
    assert float(better.min()) > 0.8

"""A policy acts, learns, keeps its initial weights as reference, and is restored exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import conf
from learners.errors import TrainingError
from learners.generators.hf import Hf
from learners.models.base import empty_cache
from learners.policy import Policy
from learners.reinforcepp import ReinforcePP
from learners.types import Transition
from learners.update.learner import LocalLearner
from learners.update.updater import Updater
from learners.weights.full import FullWeights
from tests.learners.doubles import loaded_model, messages, optimizer, transition


def policy(seed: int = 0, reference: bool = False, **changes: Any) -> Policy:
    weights = FullWeights("solver", loaded_model(seed, **changes), reference=reference)
    learner = LocalLearner(weights, Updater(weights, steps=5, seed=0))
    return Policy("solver", Hf(Hf.Config(max_batch=8), policies={"solver": weights}), learner)


def algorithm(**changes: Any) -> ReinforcePP:
    built = conf.build("learners", conf.load("algorithm", "reinforcepp", truncated="keep", **changes))
    assert isinstance(built, ReinforcePP)
    return built


def experience(subject: Policy, start: int = 0) -> list[Transition]:
    return [
        transition(
            float(i % 10), episode=f"e{i}", sampled=subject.act(messages("x" * (i % 7)), seed=i, order=i)
        )
        for i in range(start, start + 8)
    ]


def learn(subject: Policy, start: int = 0) -> dict[str, float]:
    rows = experience(subject, start)
    metrics = subject.update(rows, algorithm().advantages(rows), algorithm())
    subject.publish()
    return metrics


def test_on_policy_updates_start_at_ratio_1_and_raise_the_version() -> None:
    subject = policy()
    for step in range(3):
        metrics = learn(subject, 10 * step)
        assert metrics["mismatch_kl"] < 1e-7
        assert metrics["clip_fraction"] == 0.0
        assert subject.learner.version() == step + 1
        assert {row.completion.weight_version for row in experience(subject)} == {step + 1}


def test_new_weights_are_sampled_from_at_once() -> None:
    subject = policy(optimizer=optimizer(lr=0.05))
    before = subject.act(messages("a"), seed=1, order=0)
    learn(subject)
    assert subject.act(messages("a"), seed=1, order=0).logprobs != before.logprobs


def test_the_reference_keeps_the_initial_weights() -> None:
    subject = policy(reference=True, optimizer=optimizer(lr=0.05))
    rows = [row.completion for row in experience(subject)]
    first = subject.reference_logprobs(rows)
    for row, values in zip(rows, first, strict=True):
        assert list(values) == pytest.approx(list(row.logprobs), abs=1e-4)
    learn(subject)
    assert subject.reference_logprobs(rows) == first
    with pytest.raises(ValueError, match="without a reference"):
        policy().reference_logprobs(rows)


@pytest.mark.parametrize("kl", ["reward_k1", "loss_k2"])
def test_a_kl_term_pulls_back_to_the_reference(kl: str) -> None:
    def drift(coefficient: float) -> float:
        subject, loud = policy(reference=True), algorithm(kl=kl, kl_coef=coefficient, adv_norm="none")
        for step in range(4):
            rows = experience(subject, 20 * step)
            known = subject.reference_logprobs([row.completion for row in rows])
            rows = [replace(row, ref_logprobs=values) for row, values in zip(rows, known, strict=True)]
            subject.update(rows, loud.advantages(rows), loud)
            subject.publish()
        rows = experience(subject, 200)
        known = subject.reference_logprobs([row.completion for row in rows])
        return sum(
            abs(a - b)
            for row, values in zip(rows, known, strict=True)
            for a, b in zip(row.completion.logprobs, values, strict=True)
        )

    assert drift(5.0) < drift(0.0)


def test_a_restored_policy_acts_and_learns_exactly_as_the_unbroken_one(tmp_path: Path) -> None:
    subject = policy(reference=True)
    learn(subject)
    subject.save(tmp_path / "state.pt")
    expected = (learn(subject, 30), experience(subject, 60), learn(subject, 90))
    other = policy(reference=True)
    other.restore(tmp_path / "state.pt")
    assert (learn(other, 30), experience(other, 60), learn(other, 90)) == expected


def test_a_checkpoint_of_other_initial_weights_is_refused(tmp_path: Path) -> None:
    policy(seed=2, reference=True).save(tmp_path / "state.pt")
    with pytest.raises(conf.ConfigError, match="not those its checkpoint was trained from"):
        policy(seed=1, reference=True).restore(tmp_path / "state.pt")


def test_truncated_prompts_and_completions_are_counted() -> None:
    subject = policy(max_prompt_tokens=40)
    rows = [
        transition(1.0, episode=text, sampled=subject.act(messages(text), seed=i, order=i))
        for i, text in enumerate(["a", "b" * 50])
    ]
    metrics = subject.update(rows, algorithm().advantages(rows), algorithm())
    assert metrics["prompts_at_limit"] == 1.0
    assert metrics["truncated"] == sum(row.completion.finish_reason == "length" for row in rows)


def test_gpu_memory_that_training_freed_is_released_before_sampling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine on the same GPU wakes then, and cannot use memory that torch caches."""
    emptied: list[str] = []
    subject = policy(reference=True)
    rows = experience(subject)
    monkeypatch.setattr("learners.update.learner.empty_cache", lambda: emptied.append("yes"))
    subject.reference_logprobs([row.completion for row in rows])
    assert emptied == ["yes"]
    subject.update(rows, algorithm().advantages(rows), algorithm())
    assert emptied == ["yes", "yes"]


def test_the_cache_of_a_gpu_is_emptied_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(True))
    for here in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda here=here: here)
        empty_cache()
    assert calls == [True]


def test_a_policy_without_a_learner_acts_and_refuses_everything_else(tmp_path: Path) -> None:
    subject = policy()
    actor = Policy("solver", subject.generator)
    assert actor.act(messages("a"), seed=1, order=0) == subject.act(messages("a"), seed=1, order=0)
    calls: list[Callable[[], object]] = [
        lambda: actor.update([], [], algorithm()),
        actor.publish,
        lambda: actor.reference_logprobs([]),
        lambda: actor.save(tmp_path / "state.pt"),
        lambda: actor.restore(tmp_path / "state.pt"),
    ]
    for call in calls:
        with pytest.raises(TrainingError, match="the policy solver only acts here"):
            call()

"""What an update tells of single tokens is what a slow computation with its weights finds."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from math import exp, fsum
from typing import Any

import pytest
import torch

import conf
from learners.algorithms import members
from learners.algorithms.base import PolicyGradient
from learners.runtimes.distributed.ranks import RankGroup, RemoteLearner
from learners.types import LoadedModel, TokenTerms, Transition
from learners.update.learner import LocalLearner
from learners.update.packing import Row
from learners.update.shares import divide
from learners.update.updater import Updater
from learners.weights.full import FullWeights
from tests.learners.doubles import completion, loaded_model, optimizer, transition
from tests.learners.runtimes.test_distributed import Here

ALGORITHMS = ("reinforcepp", "reinforcepp_baseline", "grpo", "rloo", "cispo", "gspo")
CAP, LOW, HIGH = 1.05, 0.05, 0.05


def near(values: list[float]) -> Any:
    return pytest.approx(values, abs=2e-5, rel=2e-5)


def algorithm(name: str) -> PolicyGradient:
    node = conf.load("algorithm", name, importance_cap=CAP)
    changes = {"kl": "off", "clip_low": LOW, "clip_high": HIGH, "ratio_cap": 1.0 + HIGH}
    node.update({key: value for key, value in changes.items() if key in node})
    built = conf.build("learners", node)
    assert isinstance(built, PolicyGradient)
    return built


def model(**rates: Any) -> LoadedModel:
    return loaded_model(optimizer=optimizer(lr=5e-3, **rates), update_tokens=64)


@cache
def step() -> tuple[list[Transition], list[list[float] | None]]:
    """Returns the rows of a step, and advantages, of which one row has none."""
    rows = [completion(1 + i % 6, prompt=4 + 5 * i % 30, seed=i) for i in range(10)]
    known = [slowly(model(), Row.of(row, (), 0.0)) for row in rows]
    sampled = [
        replace(row, logprobs=tuple(value + 0.1 * (place % 3 - 1) for place, value in enumerate(values)))
        for row, values in zip(rows, known, strict=True)
    ]
    given = [transition(float(i), episode=f"e{i}", sampled=row) for i, row in enumerate(sampled)]
    advantages: list[list[float] | None] = [[0.5 - i % 2] * (1 + i % 6) for i in range(10)]
    advantages[3] = None
    return given, advantages


def slowly(loaded: LoadedModel, row: Row) -> list[float]:
    """The log-probability of each sampled token, by a forward pass for each of them."""
    ids, found = [int(one) for one in row.prompt_ids], []
    for token in (int(one) for one in row.token_ids):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids])).logits[0, -1].double()
        found.append(float(logits[token] - logits.exp().sum().log()))
        ids.append(token)
    return found


def trained(
    name: str, **rates: Any
) -> tuple[dict[int, TokenTerms], list[tuple[LoadedModel, list[Row]]], list[Transition]]:
    """Returns the terms of an update, the weights and rows with which each optimiser step began, and the
    transitions with advantages."""
    (given, advantages), loaded, subject = step(), model(**rates), algorithm(name)
    updater = Updater(FullWeights("a", loaded, reference=False), steps=1, seed=0)
    steps, run = list[tuple[LoadedModel, list[Row]]](), updater._step

    def seen(rows: Any, *args: Any) -> Any:
        steps.append((replace(loaded, model=copy.deepcopy(loaded.model)), list(rows)))
        return run(rows, *args)

    updater._step = seen  # type: ignore[method-assign, assignment]
    terms: dict[int, TokenTerms] = {}
    updater.update(given, advantages, subject, terms)
    kept = [one for one, values in zip(given, advantages, strict=True) if values is not None]
    return terms, steps, kept


@pytest.mark.parametrize("name", ALGORITHMS)
def test_terms_are_those_of_a_slow_computation(name: str) -> None:
    terms, steps, kept = trained(name, minibatches=3, epochs=2)
    before, clipped, limited = steps[0][0], 0, 0
    assert len(steps) == 6
    assert sorted(terms) == list(range(9))
    number = {one.completion.token_ids: place for place, one in enumerate(kept)}
    for loaded, rows in steps[:3]:  # the first epoch
        for row in rows:
            found = terms[number[tuple(row.token_ids.tolist())]]
            new, old = slowly(loaded, row), slowly(before, row)
            logs = [a - b for a, b in zip(new, old, strict=True)]
            ratio = [exp(fsum(logs) / len(logs) if name == "gspo" else one) for one in logs]
            weight = [exp(a - b) for a, b in zip(old, row.logprobs.tolist(), strict=True)]
            assert found.logprobs == near(new)
            assert found.ratio == near(ratio)
            assert found.importance == near([min(CAP, one) for one in weight])
            positive = row.advantages[0] > 0
            outside = [one > 1 + HIGH if positive or name == "cispo" else one < 1 - LOW for one in ratio]
            marks = {"clip_fraction": outside, "cap_fraction": outside}
            marks = {key: value for key, value in marks.items() if key in found.marks}
            assert bool(marks) == (name != "rloo")
            for key, marked in (marks | {"importance_limited": [one > CAP for one in weight]}).items():
                assert found.marks[key] == tuple(place for place, one in enumerate(marked) if one), key
            clipped += sum(outside)
            limited += len(found.marks["importance_limited"])
    assert clipped, "the rates are so high that something is clipped"
    assert limited


def test_a_single_step_has_ratios_of_one_and_the_logprobs_of_before() -> None:
    terms, [(loaded, _)], kept = trained("grpo")
    for place, one in enumerate(kept):
        assert set(terms[place].ratio) == {1.0}
        row = Row.of(one.completion, (), 0.0)
        assert terms[place].logprobs == near(slowly(loaded, row))


def test_to_ask_for_terms_changes_nothing() -> None:
    (given, advantages), subject, models = step(), algorithm("reinforcepp"), []
    metrics = []
    for terms in (None, dict[int, TokenTerms]()):
        loaded = model(minibatches=2)
        updater = Updater(FullWeights("a", loaded, reference=False), steps=1, seed=0)
        metrics.append(updater.update(given, advantages, subject, terms))
        models.append(loaded.model.state_dict())
    assert metrics[0] == metrics[1]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_the_terms_of_several_ranks_are_joined_by_row() -> None:
    """Each rank tells those of its own rows, by the number of the row in the whole update."""
    (given, advantages), subject, loaded = step(), algorithm("grpo"), model()
    whole: dict[int, TokenTerms] = {}
    weights = FullWeights("a", loaded, reference=False)
    learner = LocalLearner(weights, Updater(weights, steps=1, seed=0))
    shares = divide(given, advantages, subject, learner.position(), 2)
    assert sorted(shares[0].numbers + shares[1].numbers) == list(range(9))
    learner.update(given, advantages, subject, whole)

    def answer(method: str, *args: Any) -> Any:
        if method == "position":
            return learner.position()
        assert args[3] is True, "the ranks are asked to tell"
        return {"loss": 0.5}, {number: whole[number] for number in args[1].numbers}

    group = RankGroup([Here(f"rank {n}", answer) for n in range(2)], lambda calls: [c.wait() for c in calls])
    joined: dict[int, TokenTerms] = {}
    RemoteLearner("a", group).update(given, advantages, subject, joined)
    assert joined == whole


def test_rows_without_advantages_have_no_terms() -> None:
    loaded, terms = model(), dict[int, TokenTerms]()
    updater = Updater(FullWeights("a", loaded, reference=False), steps=1, seed=0)
    updater.update([transition(None)], [None], algorithm("rloo"), terms)
    assert terms == {}


def test_an_algorithm_that_does_not_tell_is_refused_in_one_line() -> None:
    class Silent:
        pass

    with pytest.raises(conf.ConfigError, match=r"record\.tokens: algorithm .*Silent lacks the method terms"):
        members.check_terms(Silent)
    for name in ALGORITHMS:
        members.check_terms(type(algorithm(name)))

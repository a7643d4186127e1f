"""Two ranks learn what one does: same loss, gradient norm and weights, however rows are split."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

import conf
from learners.base import Weights
from learners.errors import NonFiniteError
from learners.reinforcepp import ReinforcePP
from learners.types import Completion, LoadedModel, TokenTerms, Transition
from learners.update.fsdp import Ranks
from learners.update.logprobs import completion_logprobs
from learners.update.shares import divide
from learners.update.updater import Updater
from tests.learners.doubles import completion, loaded_model, optimizer, transition

pytestmark = pytest.mark.slow
CASES: dict[str, dict[str, Any]] = {
    "uneven": {"rows": 7},
    "one row, so that one rank has none": {"rows": 1},
    "many micro-batches": {"rows": 9, "update_tokens": 48},
    "untied head": {"rows": 7, "kind": "qwen3"},
    "checkpointing": {"rows": 7, "gradient_checkpointing": True},
    "minibatches": {"rows": 8, "minibatches": 3, "importance_weighting": "sequence"},
    "epochs, one row": {"rows": 1, "epochs": 2},
    "a term with the reference": {"rows": 1, "kl": "loss_k2"},
    "adapter": {"rows": 7, "way": "adapter"},
    "adapter, one row": {"rows": 1, "way": "adapter"},
    "adapter, minibatches": {"rows": 5, "way": "adapter", "minibatches": 2},
    "autocast": {"rows": 7, "autocast": True, "head_float32": True, "minibatches": 2},
    "bfloat16 weights": {"rows": 7, "dtype": "bfloat16", "head_float32": True, "minibatches": 2},
}
HALF = ("autocast", "bfloat16 weights")
"""Cases with intermediate sums rounded to bfloat16, in another order with two ranks."""
STEPS = 3
SCORED = [completion(1 + i, prompt=4 + 3 * i, seed=i) for i in range(5)]
BEFORE = (("full", SCORED, 1), ("full", SCORED[:1], 1), ("adapter", SCORED, 1), ("full", SCORED, 5))


class Kind:
    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def load(self, env_name: str, seed: int) -> LoadedModel:
        return loaded_model(seed, **self.changes)


def weights(case: dict[str, Any]) -> Weights:
    known = ("kind", "update_tokens", "gradient_checkpointing", "autocast", "dtype", "head_float32")
    changes: dict[str, Any] = {key: case[key] for key in known if key in case}
    parts = {key: case.get(key, 1) for key in ("minibatches", "epochs")}
    rates = optimizer(lr=1e-4, warmup_steps=2, schedule="cosine", **parts)
    way = case.get("way", "full")
    built = conf.build("learners.weights", conf.load("weights", way))
    loaded: dict[str, Weights] = built.load(Kind(optimizer=rates, **changes), ["a"], "any", 3, reference=True)
    return loaded["a"]


def algorithm(case: dict[str, Any]) -> ReinforcePP:
    changes = {key: case[key] for key in ("kl", "importance_weighting") if key in case}
    node = conf.load("algorithm", "reinforcepp", truncated="keep", **changes)
    built: ReinforcePP = conf.build("learners", node)
    return built


def experience(loaded: LoadedModel, count: int, step: int) -> list[Transition]:
    rows = [completion(1 + i % 6, prompt=4 + 7 * i % 30, seed=100 * step + i) for i in range(count)]
    known = [
        tuple(
            value + 0.02 * (place % 3) for place, value in enumerate(values)
        )  # an engine whose logprobs differ
        for values in completion_logprobs(loaded.model, rows, loaded.config)
    ]
    return [
        replace(
            transition(float(i * 7 % 11), episode=f"e{i}", sampled=replace(row, logprobs=values)),
            ref_logprobs=tuple(value - 0.1 for value in values),
        )
        for i, (row, values) in enumerate(zip(rows, known, strict=True))
    ]


def learned(case: dict[str, Any], ranks: Ranks, state: Any = None, first: int = 0) -> dict[str, Any]:
    """Returns the metrics of each step, what this rank tells of its tokens, and the last state."""
    loaded = loaded_model(3, kind=case.get("kind", "llama"))
    own, subject = weights(case), algorithm(case)
    updater = Updater(own, steps=2 * STEPS, seed=0, ranks=ranks)
    if state is not None:
        own.restore(state["weights"])
        updater.restore(state["updater"])
    metrics, told = [], []
    for step in range(first, first + STEPS):
        rows, terms = experience(loaded, case["rows"], step), dict[int, TokenTerms]()
        metrics.append(updater.update(rows, _some(subject, rows), subject, terms))
        told.append({number: [list(one.logprobs), list(one.ratio)] for number, one in terms.items()})
    state = {"weights": own.state(), "updater": updater.state()}
    return {"metrics": metrics, "state": state, "told": told}


def _some(subject: ReinforcePP, rows: list[Transition]) -> list[list[float] | None]:
    if len(rows) > 1:
        return subject.advantages(rows)
    return [[0.7] * len(rows[0].completion.token_ids)]  # whitening a single row would give 0


def proximal(way: str, given: list[Completion], epochs: int, ranks: Ranks) -> dict[int, list[float]]:
    """Returns the proximal log-probabilities that a rank has of the rows it trains, by their numbers."""
    case = {"way": way, "minibatches": 2, "epochs": epochs}
    updater, rows = Updater(weights(case), steps=1, seed=0, ranks=ranks), [replace(row) for row in given]
    steps = [transition(1.0, sampled=row) for row in rows]
    values = [[1.0] * len(row.token_ids) for row in rows]
    share = divide(steps, values, algorithm(case), updater.position(), ranks.size)[ranks.index]
    found = updater._proximal_logprobs(share)
    return {number: row.tolist() for number, row in zip(share.numbers, found, strict=True)}


def _two(index: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=index, world_size=2)
    ranks = Ranks.here()
    results: dict[str, Any] = {name: learned(case, ranks) for name, case in CASES.items()}
    alone = torch.load(f"{folder}/alone.pt", weights_only=True)
    results["resumed"] = learned(CASES["uneven"], ranks, alone["state"], first=STEPS)
    broken = weights({"rows": 2})
    updater = Updater(broken, steps=1, seed=0, ranks=ranks)
    given = experience(loaded_model(3), 2, 0)
    try:
        updater.update(given, [[float("nan")] * len(t.completion.token_ids) for t in given], algorithm({}))
    except NonFiniteError as error:
        results["refused"] = str(error)
    results["before"] = [proximal(way, rows, epochs, ranks) for way, rows, epochs in BEFORE]
    own = weights({})
    own.shard()
    if index == 0:
        results["idle"] = ranks.all_sum({"a": 1.0})
    else:
        ranks.all_sum({"b": 2.0})
    results["scored"] = own.logprobs(SCORED)
    results["shares"] = all(isinstance(p, DTensor) for p in own.loaded.model.parameters())
    own.save(Path(folder) / f"saved-{index}")
    own.restore({"model": loaded_model(4).model.state_dict(), "origin": own.state()["origin"]})
    results["scored again"] = own.logprobs(SCORED)
    torch.save(results, f"{folder}/two-{index}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two")
    torch.save(learned(CASES["uneven"], Ranks()), folder / "alone.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_two, args=(port, str(folder)), nprocs=2, join=True)  # type: ignore[attr-defined, no-untyped-call]
    results: dict[str, Any] = torch.load(folder / "two-0.pt", weights_only=True)
    return results | {"folder": folder, "other": torch.load(folder / "two-1.pt", weights_only=True)}


def close(one: Any, other: Any) -> None:
    """Asserts that nested values are equal to 1e-5."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            close(a, b)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5, rel=1e-5)
    else:
        assert one == other


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_learn_what_one_learns(two: dict[str, Any], name: str) -> None:
    expected = learned(CASES[name], Ranks())
    for own, other, whole in zip(
        two[name]["told"], two["other"][name]["told"], expected["told"], strict=True
    ):
        assert not own.keys() & other.keys(), "a row of the first epoch is in one rank's"
        assert (own | other).keys() == whole.keys() == set(range(CASES[name]["rows"]))
        if name not in HALF:
            close({number: (own | other)[number] for number in whole}, whole)
    for metrics in expected["metrics"] + two[name]["metrics"]:
        assert metrics["rows"] == CASES[name]["rows"]
    assert all(metrics["grad_norm"] > 1e-3 for metrics in expected["metrics"])
    close(two["other"][name]["state"], two[name]["state"])
    if name not in HALF:
        close(two[name] | {"told": expected["told"]}, expected)
    for one, other in zip(two[name]["metrics"], expected["metrics"], strict=True):
        assert one == pytest.approx(other, rel=0.05, abs=0.01)


def test_weights_keep_their_dtype(two: dict[str, Any]) -> None:
    for name, dtype in (("autocast", torch.float32), ("bfloat16 weights", torch.bfloat16)):
        state = two[name]["state"]["weights"]["model"]
        assert {value.dtype for value in state.values()} == {dtype}
        start = weights(CASES[name]).state()["model"]
        assert not all(torch.equal(state[key], start[key]) for key in start)


@pytest.mark.parametrize("place", range(len(BEFORE)))
def test_ranks_have_the_proximal_logprobs_of_the_rows_they_train(two: dict[str, Any], place: int) -> None:
    loaded = loaded_model(3)
    _, rows, epochs = BEFORE[place]
    expected = completion_logprobs(loaded.model, rows, loaded.config)
    own, other = two["before"][place], two["other"]["before"][place]
    assert sorted(own | other) == list(range(len(rows)))
    assert (len(own) + len(other) == len(rows)) == (epochs == 1), "epochs are split anew"
    for found in (own, other):
        close(found, {number: list(expected[number]) for number in found})


def test_a_checkpoint_of_two_ranks_resumes_on_one_and_vice_versa(two: dict[str, Any]) -> None:
    case = CASES["uneven"]
    unbroken = learned(case, Ranks(), learned(case, Ranks())["state"], first=STEPS)
    in_one = learned(case, Ranks(), two["uneven"]["state"], first=STEPS)
    for own in (in_one, two["resumed"]):
        close(own | {"told": unbroken["told"]}, unbroken)


def test_a_loss_that_is_not_finite_stops_every_rank(two: dict[str, Any]) -> None:
    assert two["refused"] == two["other"]["refused"] == "the loss of optimiser step 0 is nan"


def test_sharded_weights_are_saved_whole(two: dict[str, Any]) -> None:
    saved = AutoModelForCausalLM.from_pretrained(two["folder"] / "saved-0")
    whole = loaded_model(3).model.state_dict()
    for key, value in saved.state_dict().items():
        assert torch.equal(value, whole[key]), key


@pytest.mark.parametrize(("name", "seed"), [("scored", 3), ("scored again", 4)])
def test_sharded_weights_give_the_logprobs_of_whole_ones(two: dict[str, Any], name: str, seed: int) -> None:
    whole = loaded_model(seed)
    expected = completion_logprobs(whole.model, SCORED, whole.config)
    for own in (two[name], two["other"][name]):
        for row, values in zip(own, expected, strict=True):
            assert list(row) == pytest.approx(list(values), abs=1e-5)
    assert two["shares"], "weights are sharded again afterwards"


def test_a_sum_over_ranks_counts_a_missing_value_as_0(two: dict[str, Any]) -> None:
    assert two["idle"] == {"a": 1.0, "b": 2.0}

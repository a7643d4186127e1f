"""Updates: independent of packing and splitting, exact after a resumption, and never silently wrong."""

from __future__ import annotations

import copy
import math
import socket
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from conf import build, load
from learners.errors import NonFiniteError
from learners.reinforcepp import ReinforcePP
from learners.types import Batch, Completion, LoadedModel, LossMetrics, Transition
from learners.update.logprobs import batch_logprobs, completion_logprobs
from learners.update.packing import Row, pack, split_indices, to_rows
from learners.update.updater import Updater, learning_rate
from learners.weights.full import FullWeights
from tests.learners.doubles import completion, loaded_model, optimizer, transition


def algorithm(**changes: Any) -> ReinforcePP:
    built = build("learners", load("algorithm", "reinforcepp", **changes))
    assert isinstance(built, ReinforcePP)
    return built


def transitions(loaded: LoadedModel, count: int = 12) -> list[Transition]:
    """Returns rows sampled from the current weights of the model."""
    rows = [completion(1 + i % 6, prompt=4 + 7 * i % 30, seed=i) for i in range(count)]
    known = completion_logprobs(loaded.model, rows, loaded.config)
    return [
        transition(float(i * 7 % 11) / 1.1, episode=f"e{i}", sampled=replace(row, logprobs=values))
        for i, (row, values) in enumerate(zip(rows, known, strict=True))
    ]


def updater_of(loaded: LoadedModel, steps: int = 1) -> Updater:
    return Updater(FullWeights("a", loaded, reference=False), steps=steps, seed=0)


def weights(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def rows(loaded: LoadedModel) -> list[Row]:
    given, subject = transitions(loaded), algorithm()
    values = [a for a in subject.advantages(given) if a is not None]
    return to_rows(given, values, subject.token_weights(given))


def gradient(loaded: LoadedModel, given: list[Row], max_tokens: int) -> list[torch.Tensor]:
    loaded.model.zero_grad()
    for batch in pack(given, max_tokens):
        logprobs, _ = batch_logprobs(loaded.model, batch, loaded.config)
        algorithm().loss(logprobs, batch)[0].backward()  # type: ignore[no-untyped-call]
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in loaded.model.parameters()]


def test_good_actions_become_likelier_and_bad_ones_less_likely() -> None:
    loaded = loaded_model(optimizer=optimizer(lr=1e-2))
    given = transitions(loaded)
    advantages = algorithm().advantages(given)
    metrics = updater_of(loaded).update(given, advantages, algorithm())
    after = completion_logprobs(loaded.model, [t.completion for t in given], loaded.config)
    gain = sum(
        a * (new - old)
        for t, row, values in zip(given, advantages, after, strict=True)
        for a, old, new in zip(row or [], t.completion.logprobs, values, strict=True)
    )
    assert gain > 0
    assert metrics["tokens"] == sum(len(t.completion.token_ids) for t in given)
    assert (metrics["rows"], metrics["rows_skipped"]) == (12, 0)
    assert metrics["clip_fraction"] == 0
    assert metrics["mismatch_kl"] == pytest.approx(0, abs=1e-6)
    assert 0 < metrics["entropy"] < 4
    assert not loaded.model.training


def test_the_gradient_does_not_depend_on_packing() -> None:
    loaded = loaded_model()
    given = rows(loaded)
    one, many = gradient(loaded, given, 10**6), gradient(loaded, given, 1)
    assert len(pack(given, 1)) > len(pack(given, 10**6)) == 1
    for a, b in zip(one, many, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("world_size", [2, 3])
def test_gradients_of_several_workers_add_up_to_that_of_one(world_size: int) -> None:
    loaded = loaded_model()
    given = rows(loaded)
    whole = gradient(loaded, given, 100)
    parts = [gradient(loaded, [given[i] for i in part], 100) for part in split_indices(given, world_size)]
    for i, expected in enumerate(whole):
        torch.testing.assert_close(sum(part[i] for part in parts), expected, atol=1e-6, rtol=1e-4)


def _work(rank: int, port: int, path: str) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    loaded = loaded_model()
    given = rows(loaded)
    gradients = gradient(loaded, [given[i] for i in split_indices(given, 2)[rank]], 100)
    for part in gradients:
        dist.all_reduce(part)
    if rank == 0:
        torch.save(gradients, path)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_the_gradient_of_one(tmp_path: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_work, (port, str(tmp_path / "gradient.pt")), nprocs=2)  # type: ignore[no-untyped-call]
    loaded = loaded_model()
    expected = gradient(loaded, rows(loaded), 100)
    for a, b in zip(torch.load(tmp_path / "gradient.pt"), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_learning_rate_of_0_leaves_the_weights_bit_for_bit() -> None:
    loaded = loaded_model(optimizer=optimizer(lr=0.0, weight_decay=0.1, epochs=3, minibatches=2))
    before, given = weights(loaded), transitions(loaded)
    metrics = updater_of(loaded).update(given, algorithm().advantages(given), algorithm())
    assert same(before, weights(loaded))
    assert metrics["grad_norm"] > 0


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_a_gradient_is_clipped_and_its_norm_before_that_is_reported(limit: float) -> None:
    loaded = loaded_model(optimizer=optimizer(max_grad_norm=limit, betas=[0.9, 0.95]))
    given = transitions(loaded)
    updater = updater_of(loaded)
    norm = updater.update(given, algorithm().advantages(given), algorithm())["grad_norm"]
    moments = [state["exp_avg"] for state in updater.state()["optimizer"]["state"].values()]
    taken = math.sqrt(sum(float((moment / 0.1).square().sum()) for moment in moments))
    assert norm > 0.1
    assert taken == pytest.approx(min(norm, limit), rel=1e-3)


def test_rows_without_advantages_are_skipped_and_counted() -> None:
    loaded, other = loaded_model(), loaded_model()
    given = transitions(loaded)
    advantages = algorithm().advantages(given)
    unknown = [*given[:3], *(replace(t, reward=None) for t in given[:2]), *given[3:]]
    masked = [*advantages[:3], None, None, *advantages[3:]]
    updater_of(loaded).update(given, advantages, algorithm())
    metrics = updater_of(other).update(unknown, masked, algorithm())
    assert same(weights(loaded), weights(other))
    assert (metrics["rows"], metrics["rows_skipped"]) == (12, 2)


def test_without_rows_to_train_on_nothing_changes() -> None:
    loaded = loaded_model()
    before, updater = weights(loaded), updater_of(loaded)
    assert updater.update([transition(None)], [None], algorithm()) == {
        "rows": 0,
        "rows_skipped": 1,
        "rows_no_signal": 0,
        "tokens": 0,
    }
    assert same(before, weights(loaded))
    assert updater.steps_done == 0


def test_minibatches_and_epochs_give_that_many_steps_and_use_every_row() -> None:
    loaded = loaded_model(optimizer=optimizer(minibatches=3, epochs=2))
    given = transitions(loaded)
    seen: list[str] = []

    class Spy(ReinforcePP):
        def token_weights(self, transitions: Any) -> list[float]:
            seen.extend(t.episode for t in transitions)
            return super().token_weights(transitions)

    subject = Spy(algorithm().config)
    updater = updater_of(loaded)
    updater.update(given, subject.advantages(given), subject)
    assert updater.steps_done == 6
    assert sorted(seen[:12]) == sorted(seen[12:]) == sorted(t.episode for t in given)
    assert seen[:12] != seen[12:]


class Watcher(ReinforcePP):
    """Records (sampled tokens, proximal logprobs), one entry per row and optimiser step."""

    def __init__(self, config: ReinforcePP.Config) -> None:
        super().__init__(config)
        self.seen: list[tuple[tuple[int, ...], list[float] | None]] = []

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, LossMetrics]:
        for number in batch.row.unique().tolist():  # type: ignore[no-untyped-call]
            where = batch.row == number
            prox = None if batch.prox_logprobs is None else batch.prox_logprobs[where].tolist()
            self.seen.append((tuple(batch.target[where].tolist()), prox))
        return super().loss(logprobs, batch)


@pytest.mark.parametrize("way", ["full", "adapter"])
def test_the_proximal_policy_is_that_before_the_first_step_of_an_update(way: str) -> None:
    loaded = loaded_model(optimizer=optimizer(minibatches=3, epochs=2, lr=1e-2))
    given, subject = transitions(loaded), Watcher(algorithm(importance_weighting="off").config)
    updater = updater_of(loaded)
    if way == "adapter":
        kind = SimpleNamespace(load=lambda env_name, seed: loaded)
        loader = build("learners.weights", load("weights", "adapter"))
        updater = Updater(loader.load(kind, ["a"], "any", 0, reference=False)["a"], steps=1, seed=0)
    before = {t.completion.token_ids: t.completion.logprobs for t in given}
    metrics = updater.update(given, subject.advantages(given), subject)
    assert len(subject.seen) == 2 * len(given)
    for tokens, prox in subject.seen:
        assert prox == pytest.approx(before[tokens], abs=1e-5)
    assert metrics["approx_kl"] > 1e-4
    assert abs(metrics["mismatch_k1"]) < 1e-6
    assert 0 <= metrics["mismatch_kl"] < 1e-6


def test_a_single_step_needs_no_extra_forward_pass() -> None:
    loaded = loaded_model()
    given, subject = transitions(loaded), Watcher(algorithm().config)
    metrics = updater_of(loaded).update(given, subject.advantages(given), subject)
    assert [prox for _, prox in subject.seen] == [None] * len(given)
    assert metrics["approx_kl"] == metrics["clip_fraction"] == 0.0


def test_a_mismatch_between_engine_and_trainer_is_measured_and_corrected() -> None:
    loaded, other = loaded_model(), loaded_model()
    given = transitions(loaded)
    off = [
        replace(t, completion=replace(t.completion, logprobs=tuple(p - 0.1 for p in t.completion.logprobs)))
        for t in given
    ]
    advantages = algorithm().advantages(given)
    plain = updater_of(loaded).update(given, advantages, algorithm())
    corrected = updater_of(other).update(
        off, advantages, algorithm(importance_weighting="token", importance_cap=2.0)
    )
    assert corrected["mismatch_k1"] == pytest.approx(-0.1, abs=1e-5)
    assert corrected["mismatch_kl"] == pytest.approx(math.exp(0.1) - 1.1, abs=1e-5)
    assert corrected["grad_norm"] == pytest.approx(math.exp(0.1) * plain["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("where", ["reward", "weights"])
def test_a_value_that_is_not_finite_is_an_error_and_not_a_step(where: str) -> None:
    loaded = loaded_model()
    given = transitions(loaded)
    advantages = algorithm().advantages(given)
    if where == "reward":
        advantages[0] = [float("nan")] * len(given[0].completion.token_ids)
    else:
        with torch.no_grad():
            loaded.model.get_parameter("model.norm.weight")[0] = float("inf")
    before = weights(loaded)
    with pytest.raises(NonFiniteError, match="optimiser step 0"):
        updater_of(loaded).update(given, advantages, algorithm())
    assert same(before, weights(loaded))


def test_a_restored_updater_continues_bit_for_bit() -> None:
    settings = optimizer(minibatches=2, schedule="cosine", warmup_steps=1)
    loaded = loaded_model(optimizer=settings)
    given = transitions(loaded)
    advantages = algorithm().advantages(given)
    updater = updater_of(loaded, steps=4)
    updater.update(given, advantages, algorithm())
    kept, state = weights(loaded), copy.deepcopy(dict(updater.state()))
    expected = updater.update(given, advantages, algorithm())
    resumed = loaded_model(seed=9, optimizer=settings)
    resumed.model.load_state_dict(kept)
    other = updater_of(resumed, steps=4)
    other.restore(state)
    assert other.update(given, advantages, algorithm()) == expected
    assert same(weights(loaded), weights(resumed))


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    plain, frugal = loaded_model(), loaded_model(gradient_checkpointing=True)
    given = transitions(plain)
    for loaded in (plain, frugal):
        updater_of(loaded).update(given, algorithm().advantages(given), algorithm())
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(frugal)[name], tensor, atol=1e-6, rtol=1e-5)
    assert not frugal.model.training
    assert not frugal.model.is_gradient_checkpointing


def test_autocast_trains_float32_weights() -> None:
    loaded = loaded_model(autocast=True, head_float32=True)
    before, given = weights(loaded), transitions(loaded)
    metrics = updater_of(loaded).update(given, algorithm().advantages(given), algorithm())
    assert not same(before, weights(loaded))
    assert all(tensor.dtype == torch.float32 for tensor in weights(loaded).values())
    assert metrics["mismatch_kl"] < 0.01


def test_the_rate_warms_up_and_then_falls_to_a_tenth() -> None:
    cosine = optimizer(lr=1.0, warmup_steps=2, schedule="cosine")
    rates = [learning_rate(cosine, done, 12) for done in range(13)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.55)
    assert rates[12] == pytest.approx(0.1)
    assert learning_rate(cosine, 50, 12) == pytest.approx(0.1)
    assert learning_rate(optimizer(lr=0.3), 5, 12) == 0.3


def test_an_unsampled_completion_is_never_packed() -> None:
    empty = Completion("", (1, 2), (), (), 0, "length")
    assert algorithm().advantages([transition(3.0, sampled=empty)]) == [None]

"""Timing: rooflines in closed form, and operations as counted by torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from learners.models.attention import Borders, arguments
from learners.planning import timing
from learners.planning.shapes import read_shapes
from tests.learners.doubles import loaded_model
from tests.learners.planning.jobs import ONE_GPU, PAPERS, parts

LENGTH = 40


@pytest.mark.parametrize("checkpointing", [False, True])
def test_operations_equal_those_counted_by_torch(checkpointing: bool) -> None:
    model: Any = loaded_model(0, "qwen3").model
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    rows = arguments(Borders.of([LENGTH, LENGTH], torch.device("cpu")))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        ids = torch.ones(1, 2 * LENGTH, dtype=torch.long)
        hidden = model.base_model(input_ids=ids, use_cache=False, **rows).last_hidden_state
        forward = counter.get_total_flops()
        hidden.sum().backward()
    shapes = read_shapes(model.config)
    once = timing.operations(shapes, 2 * LENGTH, LENGTH, passes=1, attention=1)
    assert forward == once
    passes = 4 if checkpointing else 3  # torch's plain attention goes back at twice the cost of forth
    spared = 2 * LENGTH * 2 * shapes.intermediate * shapes.hidden * shapes.layers if checkpointing else 0
    assert counter.get_total_flops() == passes * once - spared  # a layer's last product is not made again


def test_one_sequence_is_memory_bound_and_a_thousand_are_compute_bound() -> None:
    job, hardware, assume = parts(f"experiment={ONE_GPU}")
    exact = replace(assume, decode_share=1.0, prefill_mfu=1.0)

    def seconds(batch: float, context: float) -> float:
        return timing.decode_seconds(
            job.shapes, hardware, exact, batch=batch, context=context, compute=2, gpus=1
        )

    assert seconds(1, 0) == 2 * 4_022_468_096 / 3.35e12
    assert seconds(8, 1000) - seconds(8, 0) == pytest.approx(8 * 1000 * 147_456 / 3.35e12)
    assert seconds(1000, 0) == pytest.approx(1000 * 2 * 4_022_468_096 / 989e12)


def test_policies_learn_in_parallel_on_their_own_gpus_and_in_turn_on_a_shared_one() -> None:
    for name, at_once in ((PAPERS[0], max), (ONE_GPU, sum)):
        job, hardware, assume = parts(f"experiment={name}")
        each = [timing.update_seconds(job, hardware, assume, job.episodes * n) for n in job.turns.values()]
        times = timing.estimate([job], hardware, assume)
        assert times.step["updates"] == at_once(each)
        assert (
            times.run_seconds(job)
            == job.steps * sum(times.step.values()) + job.evaluations * times.evaluation
        )


def test_a_slow_endpoint_bounds_a_step_from_below() -> None:
    job, _, assume = parts(f"experiment={PAPERS[0]}")
    assert timing.coaching_floor(job, assume, 64) == 64 * assume.coach_s / 32
    slow, _, _ = parts(f"experiment={PAPERS[0]}", "coach.endpoint.requests_per_minute=8")
    assert timing.coaching_floor(slow, assume, 64) == 60 * 64 / 8
    mean, _, _ = parts(f"experiment={PAPERS[0]}", "coach.endpoint.tokens_per_minute=7000")
    assert timing.coaching_floor(mean, assume, 64) == pytest.approx(64 * 60)


def test_a_hosted_coach_costs_money_and_rules_are_free() -> None:
    job, hardware, assume = parts(f"experiment={PAPERS[0]}")
    coaching = timing.estimate([job], hardware, assume).coaching
    assert coaching.calls == pytest.approx(64 * (1 + 0.9 * 2 + 1))
    assert coaching.dollars == pytest.approx(coaching.calls * (6000 * 0.3 + 1000 * 2.5) / 1e6)
    rules, hardware, assume = parts(f"experiment={ONE_GPU}")
    assert timing.estimate([rules], hardware, assume).coaching == timing.Coaching(0.0, 0.0)


def test_a_small_cache_makes_sequences_wait() -> None:
    job, hardware, assume = parts(f"experiment={ONE_GPU}")
    full = timing.estimate([job], hardware, assume)
    tight = timing.estimate([replace(job, engine_share=0.3)], hardware, assume)
    assert tight.batch < full.batch == 16
    assert tight.step["sampling, tools, verdicts"] > full.step["sampling, tools, verdicts"]


def test_an_update_of_several_steps_starts_with_an_extra_forward_pass() -> None:
    job, hardware, assume = parts(f"experiment={ONE_GPU}")
    one = replace(job, model=replace(job.model, optimizer=replace(job.model.optimizer, minibatches=1)))
    first = timing.update_seconds(job, hardware, assume, 64) - timing.update_seconds(
        one, hardware, assume, 64
    )
    assert first == pytest.approx(timing.forward_seconds(job, hardware, assume, 64)) != 0


def test_weights_are_written_once_and_read_by_every_engine() -> None:
    job, _, assume = parts(f"experiment={PAPERS[0]}")
    layout = replace(job.layout, engines=2)
    size = job.shapes.parameters * job.compute
    for trained in (1, 3):
        two = replace(job, layout=layout, trained_policies=trained)
        assert timing.sync_seconds(two, assume) == pytest.approx(trained * 3 * size / assume.sync_bytes)

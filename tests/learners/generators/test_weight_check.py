"""The weight check: what the probe consists of, and which differences stop a run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from learners.errors import TrainingError
from learners.generators.chat import ChatFormat, stop_ids
from learners.generators.vllm import weight_check
from learners.generators.vllm.weight_check import Checked, Trace
from tests.learners.doubles import loaded_model


def chat(limit: int = 160) -> ChatFormat:
    loaded = loaded_model(max_prompt_tokens=limit)
    stop = stop_ids(loaded.tokenizer, loaded.model.generation_config)
    return ChatFormat(loaded.tokenizer, loaded.config, stop, "a")


def trace(*logprobs: float, sampled: tuple[int, ...] = (8, 9)) -> Trace:
    return Trace((1, 2, 3), sampled, logprobs)


OLD = Checked(trace(-1.0, -2.0, -3.0, -4.0), (-1.01, -2.01, -3.01, -4.01))


def test_the_probe_is_random_tokens_and_a_chat_the_same_every_time() -> None:
    probe = weight_check.tokens(chat(), 40)
    assert probe == weight_check.tokens(chat(), 40)
    assert max(probe[: weight_check.RANDOM]) < 40
    assert len(set(probe[: weight_check.RANDOM])) > 20
    assert (
        list(probe[weight_check.RANDOM :])
        == chat().prompt(weight_check.CHAT)[: len(probe) - weight_check.RANDOM]
    )
    assert len(weight_check.tokens(chat(limit=20), 40)) == 20


def test_a_trace_is_scored_from_its_second_token_on() -> None:
    row = OLD.trace.completion
    assert (row.prompt_ids, row.token_ids) == ((1,), (2, 3, 8, 9))
    assert OLD.gap == pytest.approx(0.01)


def test_a_mean_gap_above_the_tolerance_or_not_finite_stops_the_run() -> None:
    weight_check.check_updated("a", OLD, None, 0.02)
    with pytest.raises(
        TrainingError, match=r"the weights that sample for a are not the trained ones: 0\.01 nats"
    ):
        weight_check.check_updated("a", OLD, None, 0.005)
    with pytest.raises(TrainingError, match="inf nats"):
        weight_check.check_updated("a", replace(OLD, expected=(math.nan, 0, 0, 0)), None, 0.1)
    with pytest.raises(ValueError, match="4 values against 3"):
        weight_check.distance((1, 2, 3, 4), (1, 2, 3))


def test_an_engine_that_did_not_change_while_the_trainer_did_stops_the_run() -> None:
    moved = Checked(trace(-1.0, -2.0, -3.1, -4.1, sampled=(5, 5)), (-1.03, -2.03, -3.11, -4.11))
    with pytest.raises(TrainingError, match=r"did not change at all, though training moved them by 0\.02"):
        weight_check.check_updated("a", moved, OLD, 0.1)
    weight_check.check_updated("a", replace(moved, trace=trace(-1.0, -2.0001, -3.1, -4.1)), OLD, 0.1)
    weight_check.check_updated("a", replace(moved, expected=(-1.0105, -2.0105, -3, -4)), OLD, 0.1)


def test_unchanged_weights_give_the_same_tokens_and_logprobs() -> None:
    weight_check.check_unchanged("a", trace(-1.0, -2.0, -3.0, -4.0004), OLD.trace, 0.001)
    with pytest.raises(TrainingError, match=r"outputs of unchanged weights changed: a, 0\.1 nats a token"):
        weight_check.check_unchanged("a", trace(-1.0, -2.0, -3.0, -4.4), OLD.trace, 0.001)
    with pytest.raises(TrainingError, match=r"unchanged weights changed: a, other tokens from the same seed"):
        weight_check.check_unchanged("a", trace(-1.0, -2.0, -3.0, -4.0, sampled=(8, 7)), OLD.trace, 0.001)

"""The ``hf`` generator: what it reports is what the model says, and seeds alone decide its streams."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from conf import ConfigError, build, load
from envs.types import Message
from learners.generators import hf
from learners.generators.chat import cut_middle
from learners.generators.hf import Hf, sample
from learners.rollout import lockstep
from learners.runtimes.local import Local
from learners.types import Completion, GenerationRequest, LoadedModel
from learners.update.logprobs import batch_logprobs, completion_logprobs
from learners.update.packing import Row, pack
from learners.weights.full import FullWeights
from tests.learners.doubles import loaded_model, messages

LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 64,
}
"""Frequencies of rows of up to 64 tokens, and others of longer ones; a head has 8 numbers."""


def generator(loaded: LoadedModel, max_batch: int = 64) -> Hf:
    weights = {"solver": FullWeights("solver", loaded, reference=False)}
    built = build("learners.generators", load("generator", "hf", max_batch=max_batch), policies=weights)
    assert isinstance(built, Hf)
    return built


def play(
    subject: Hf, episodes: int = 7, turns: int = 3, *, groups: int = 1, delays: int | None = None
) -> list[list[Completion]]:
    """Concurrent episodes whose later prompts hold what was said before, of various lengths. ``delays``: seed
    of random pauses before each request."""

    def episode(number: int) -> list[Completion]:
        dice = random.Random(f"{delays} {number}")
        chat: tuple[Message, ...] = messages("x" * (number * 3 % 10))
        completions: list[Completion] = []
        for turn in range(turns):
            time.sleep(0.0 if delays is None else 0.01 * dice.random())
            completions.append(subject.generate("solver", chat, seed=100 * number + turn, order=number))
            chat = (*chat, Message("assistant", completions[-1].text), Message("user", "go on"))
        return completions

    results = Local(Local.Config(torch_threads=1)).map(episode, range(episodes), limit=5, groups=groups)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_recomputed_logprobs_equal_those_of_generation_in_later_turns_too(kind: str) -> None:
    loaded = loaded_model(kind=kind)
    episodes = play(generator(loaded))
    rows = [row for episode in episodes for row in episode]
    assert {row.finish_reason for row in rows} == {"stop", "length"}
    assert len({len(row.prompt_ids) for row in rows}) > 5  # so that batches were padded, bins mixed
    for row, expected in zip(rows, completion_logprobs(loaded.model, rows, loaded.config), strict=True):
        assert len(row.logprobs) == len(row.token_ids) == len(expected)
        assert list(row.logprobs) == pytest.approx(list(expected), abs=1e-4)


def test_prompts_are_the_templates_ids_and_texts_the_decoded_tokens() -> None:
    loaded = loaded_model()
    chat = messages("hello")
    row = generator(loaded).generate("solver", chat, seed=1, order=0)
    text = "<s>system\nbe brief<e><s>user\nhello<e><s>assistant\n"
    assert list(row.prompt_ids) == loaded.tokenizer.encode(text, add_special_tokens=False)
    assert row.text == loaded.tokenizer.decode(list(row.token_ids), skip_special_tokens=True)
    assert "<e>" not in row.text


def test_a_completion_stops_at_the_end_of_turn_or_at_the_limit() -> None:
    loaded = loaded_model()
    end = loaded.tokenizer.eos_token_id
    for episode in play(generator(loaded)):
        for row in episode:
            assert (row.token_ids[-1] == end) == (row.finish_reason == "stop")
            assert end not in row.token_ids[:-1]
            assert row.finish_reason == "stop" or len(row.token_ids) == loaded.config.max_new_tokens


def test_the_generation_configs_stop_ids_count_as_well() -> None:
    loaded = loaded_model()
    assert loaded.model.generation_config is not None
    loaded.model.generation_config.eos_token_id = list(range(len(loaded.tokenizer)))
    row = generator(loaded).generate("solver", messages("a"), seed=0, order=0)
    assert (len(row.token_ids), row.finish_reason) == (1, "stop")


def test_concurrent_play_is_repeated_bit_for_bit() -> None:
    assert play(generator(loaded_model())) == play(generator(loaded_model()))


@pytest.mark.parametrize("groups", [2, 3])
def test_groups_are_repeated_bit_for_bit_however_long_programs_take(groups: int) -> None:
    subject = generator(loaded_model())
    first = play(subject, groups=groups)
    for delays in range(2):
        assert play(subject, groups=groups, delays=delays) == first
    texts = [[row.text for row in episode] for episode in first]
    assert texts == [[row.text for row in episode] for episode in play(subject)]


def test_a_rows_tokens_depend_on_its_seed_and_not_on_its_batch_mates() -> None:
    loaded = loaded_model()
    together = [row for episode in play(generator(loaded), turns=1) for row in episode]
    split = [row for episode in play(generator(loaded, max_batch=2), turns=1) for row in episode]
    assert [row.token_ids for row in together] == [row.token_ids for row in split]
    again = generator(loaded).generate("solver", messages(""), seed=0, order=5)
    assert again.token_ids == together[0].token_ids
    other = generator(loaded).generate("solver", messages(""), seed=1, order=5)
    assert other.token_ids != together[0].token_ids


def test_temperature_0_is_greedy_and_logprobs_stay_those_of_temperature_1() -> None:
    loaded = loaded_model()
    rows = [
        generator(loaded).generate("solver", messages("q"), seed=s, order=0, temperature=0.0)
        for s in range(3)
    ]
    assert len({row.token_ids for row in rows}) == 1
    hot = generator(loaded).generate("solver", messages("q"), seed=1, order=0, temperature=2.0)
    for row in (rows[0], hot):
        (expected,) = completion_logprobs(loaded.model, [row], loaded.config)
        assert list(row.logprobs) == pytest.approx(list(expected), abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sampling_follows_the_models_distribution(temperature: float) -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, float("-inf"), 0.0])
    count = 40_000
    uniform = torch.tensor(np.random.default_rng(0).random(count))
    tokens, logprobs = sample(logits.expand(count, -1), uniform, torch.full((count,), temperature))
    shares = torch.bincount(tokens, minlength=5) / count
    torch.testing.assert_close(shares, (logits / temperature).softmax(-1), atol=0.01, rtol=0)
    torch.testing.assert_close(logprobs, logits.log_softmax(-1)[tokens])


def test_the_ends_of_the_unit_interval_never_draw_an_impossible_token() -> None:
    logits = torch.tensor([[float("-inf"), 1.0, 2.0, float("-inf")]]).expand(2, -1)
    tokens, _ = sample(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), torch.ones(2))
    assert tokens.tolist() == [1, 2]


def test_a_prompt_too_long_keeps_its_head_and_its_tail() -> None:
    loaded = loaded_model(max_prompt_tokens=60)
    row = generator(loaded).generate("solver", messages("start " + "x" * 400 + " end"), seed=0, order=0)
    text = str(loaded.tokenizer.decode(list(row.prompt_ids))).replace(" ", "")
    assert len(row.prompt_ids) == 60
    assert text.startswith("<s>system")
    assert text.endswith("end<e><s>assistant\n")
    assert "[...cut...]" in text
    assert cut_middle([1, 2, 3, 4, 5], 2, [9, 9]) == [1, 5]


def test_a_thought_that_the_template_opens_is_opened_in_the_text() -> None:
    loaded = loaded_model()
    plain = generator(loaded).generate("solver", messages("a"), seed=3, order=0)
    loaded.tokenizer.add_special_tokens({"additional_special_tokens": ["<think>"]})
    loaded.model.resize_token_embeddings(len(loaded.tokenizer))
    loaded.tokenizer.chat_template = str(loaded.tokenizer.chat_template).replace(
        "<s>assistant\n{% endif", "<s>assistant\n<think>\n{% endif"
    )
    opened = generator(loaded).generate("solver", messages("a"), seed=3, order=0)
    assert opened.text.startswith("<think>\n")
    assert not plain.text.startswith("<think>")


def test_what_a_model_keeps_of_sampling_can_be_learned_with() -> None:
    """Here its frequencies, which change when a row gets long; autograd takes no tensors of inference."""

    def gradients(*, samples: bool) -> dict[str, torch.Tensor | None]:
        loaded = loaded_model()
        config: Any = loaded.model.config
        config.rope_parameters = LONG_ROPE
        loaded.model.base_model.rotary_emb = LlamaRotaryEmbedding(config)
        if samples:
            generator(loaded).generate("solver", messages("x" * 100), seed=1, order=0)
            assert loaded.model.base_model.rotary_emb.inv_freq.is_inference()
        batch_logprobs(loaded.model, batch, loaded.config)[0].sum().backward()  # type: ignore[no-untyped-call]
        return {name: value.grad for name, value in loaded.model.named_parameters()}

    row = generator(loaded_model()).generate("solver", messages("y" * 100), seed=1, order=0)
    (batch,) = pack([Row.of(row, [1.0] * len(row.token_ids), 1.0)], 1000)
    torch.testing.assert_close(gradients(samples=True), gradients(samples=False), rtol=0, atol=0)


def test_completions_carry_the_weight_version() -> None:
    subject = generator(loaded_model())
    subject.sync("solver", 7)
    assert subject.generate("solver", messages("a"), seed=0, order=0).weight_version == 7


def test_bfloat16_generation_agrees_with_bfloat16_updates_roughly() -> None:
    loaded = loaded_model(autocast=True)
    rows = [row for episode in play(generator(loaded), turns=1) for row in episode]
    expected = completion_logprobs(loaded.model, rows, loaded.config)
    gaps = [
        abs(a - b)
        for row, values in zip(rows, expected, strict=True)
        for a, b in zip(row.logprobs, values, strict=True)
    ]
    assert sum(gaps) / len(gaps) < 0.1


def test_a_failing_model_fails_every_waiting_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = generator(loaded_model())

    def broken(*_: object) -> list[Completion]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(hf, "_batch", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        play(subject)


def test_a_batch_of_none_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="max_batch"):
        generator(loaded_model(), max_batch=0)


def test_settings_a_model_cannot_meet_are_clear_errors() -> None:
    with pytest.raises(ConfigError, match="exceeds its context of 512"):
        loaded_model(max_prompt_tokens=500, max_new_tokens=100)
    with pytest.raises(ConfigError, match="dtype"):
        replace(loaded_model().config, dtype="int4")


def test_each_row_is_delivered_once_and_those_that_end_first_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delivered: list[tuple[int, object]] = []
    monkeypatch.setattr(lockstep, "deliver", lambda place, answer: delivered.append((place, answer)))
    requests = [GenerationRequest(messages("x" * n), n, 1.0) for n in range(6)]
    rows = generator(loaded_model(), max_batch=4).batch("solver", requests)
    assert sorted(place for place, _ in delivered) == list(range(6))
    assert all(rows[place] is answer for place, answer in delivered)
    first = [len(rows[place].token_ids) for place, _ in delivered[:4]]
    assert first == sorted(first)
    assert first[0] < first[-1]

